import pytest
from test_evaluate_cli import checkpoint, table, command
@pytest.mark.parametrize("flags", [["--batch-size=0"],["--batch-size=-2"],["--num-workers=-1"],["--patch-image-size=0"],["--patch-image-size=8"],["--patch-image-size=250"],["--num-bins=1"],["--num-bins=0"],["--max-image-size=0"],["--constraint-range=5,3"],["--constraint-range=0,999999"],["--max-len-b=-3"],["--max-src-length=-1"],["--results-path=/dev/null/x"],["--results-path=/proc/x"],["--code-dict-size=-5"],["--beam=100000"],["--no-repeat-ngram-size=-1"],["--skip-bad-rows=-1"],["--min-len=-1"],["--lenpen=nan"],["--num-bins=50","--code-dict-size=146"]])
def test_p(command, flags):
    try:
        r=command(*flags); print("OUT",flags,r[0],r[1][:80],[l for l in r[2].splitlines() if 'rror' in l][:1])
    except BaseException as e: print("OUT",flags,"RAISES",type(e).__name__,str(e)[:150])
