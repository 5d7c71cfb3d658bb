"""What all tests need before anything is imported."""

import os
import tempfile

# The tests' networks are so small that threads only wait for each other; processes that tests start
# inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test downloads anything, or depends on what this machine has downloaded before.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="skcnn-tests-")
