import os

# The tests' networks are so small that threads only wait for each other; processes that tests start
# inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
