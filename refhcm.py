"""Lets the scripts of this folder import the package without installing it: `import refhcm` finds this file, which puts
the folder itself, whatever its name, in its place. `python refhcm.py` is the command `refhcm`."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_SPEC = spec_from_file_location("refhcm", _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)])
assert _SPEC
assert _SPEC.loader
sys.modules["refhcm"] = module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules["refhcm"])

if __name__ == "__main__":
    from refhcm.apps.cli.main import main

    sys.exit(main())
