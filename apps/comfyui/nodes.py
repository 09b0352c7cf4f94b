"""The nodes for ComfyUI, which loads this project as a custom node when it lies in `ComfyUI/custom_nodes`.

ComfyUI reads `NODE_CLASS_MAPPINGS` from the package and calls each node's method `FUNCTION` with the inputs by name.
A user's mistake raises UserError, which ComfyUI shows at the node.
"""

from .asking import AskRefHCM, DescribeRefHCM, FindRefHCM
from .loading import DownloadRefHCM, ExamplePicture, LoadRefHCM
from .parts import PickRefHCMParts

WEB_DIRECTORY = "./apps/comfyui/web"  # from the package's root; the page looks for help in docs/NODE.md below it

NODE_CLASS_MAPPINGS = {
    "RefHCMLoad": LoadRefHCM,
    "RefHCMDownload": DownloadRefHCM,
    "RefHCMExample": ExamplePicture,
    "RefHCMAsk": AskRefHCM,
    "RefHCMFind": FindRefHCM,
    "RefHCMParts": PickRefHCMParts,
    "RefHCMDescribe": DescribeRefHCM,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "RefHCMLoad": "Load RefHCM",
    "RefHCMDownload": "Download RefHCM",
    "RefHCMExample": "Example picture (RefHCM)",
    "RefHCMAsk": "Ask about a person (RefHCM)",
    "RefHCMFind": "Find people (RefHCM)",
    "RefHCMParts": "Parts of a person (RefHCM)",
    "RefHCMDescribe": "Describe a person (RefHCM)",
}
