"""
Look inside hand-crafted features
=================================

What does a classifier see that is given gradients, keypoints or visual words in place of pixels?
From a filter to the words that SIFT descriptors form, each step with a picture.
"""

# %%
# A filter
# --------
# Most features begin with the gradient: how much brighter the image becomes from left to right, and
# from top to bottom. Sobel's kernel answers with both signs; red is brighter to the right, blue
# darker.

from skimage import data

from skcnn import ConvolutionFilter
from skcnn.inspection import FilterDisplay

photo = data.camera()  # 512 x 512 pixels, uint8
sobel = ConvolutionFilter("sobel", direction="horizontal").fit([photo])
_ = FilterDisplay.from_estimator(sobel, photo)

# %%
# A smoothed second derivative in all directions, the Laplacian of Gaussian, answers to blobs of its
# own size: red where it is darker than around, blue where it is brighter. The keypoints below are
# found with something that comes close to it.

from skcnn import load_digit_images

X, y = load_digit_images(return_X_y=True)  # 1797 digits of 8 x 8 pixels
blobs = ConvolutionFilter("log", sigma=1, size=5).fit(X)
_ = FilterDisplay.from_estimator(blobs, X[0])

# %%
# Histograms of oriented gradients
# --------------------------------
# HOG cuts the image into cells and asks each how its gradients are oriented. A glyph shows the
# edges of a cell: its lines are at right angles to the gradients, the brighter the stronger these
# are.

from skcnn import HOGExtractor
from skcnn.inspection import HOGDisplay

astronaut = data.astronaut()[:256, 96:352]  # in colour
hog = HOGExtractor(pixels_per_cell=(8, 8)).fit([astronaut])
_ = HOGDisplay.from_estimator(hog, astronaut)

# %%
# "auto", the default, takes cells that suit the image: of 2 x 2 pixels for the digits.

_ = HOGDisplay.from_estimator(HOGExtractor().fit(X), X[0])

# %%
# SIFT
# ----
# A SIFT descriptor says of 4 x 4 bins of a patch how their gradients are oriented. Keypoints are
# where a patch stands out from what is around it. They come with a scale and an orientation, so
# that the same thing is described alike when it is turned or nearer.

# sphinx_gallery_thumbnail_number = 5
from skcnn import SIFTExtractor
from skcnn.inspection import KeypointsDisplay

sift = SIFTExtractor("dog").fit([astronaut])
_ = KeypointsDisplay.from_estimator(sift, astronaut, max_keypoints=100)

# %%
# For classification one mostly takes a regular grid: keypoints are few in small images, and some
# images have none. The squares are the patches of the grid's middle point at two scales.

grid = SIFTExtractor(step=8, bin_size=(4, 8)).fit([astronaut])
_ = KeypointsDisplay.from_estimator(grid, astronaut)

# %%
# Visual words
# ------------
# The digits on a grid of 6 x 6 points, in patches of 4 x 4 pixels. k-means finds 50 words in all
# of their descriptors. Each picture is the mean of the patches that one word stands for: strokes of
# all directions, their ends and their bends.

from skcnn import BagOfVisualWords
from skcnn.inspection import VisualWordsDisplay

strokes = SIFTExtractor(step=1, bin_size=1).fit(X)
words = BagOfVisualWords(n_words=50, random_state=0).fit(strokes.transform(X))
_ = VisualWordsDisplay.from_estimator(strokes, words, X, patch_size=8)

# %%
# How often each word occurs, in the whole image and in each quarter of it, tells the digits apart.

from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

pipeline = make_pipeline(
    SIFTExtractor(step=1, bin_size=1),
    BagOfVisualWords(n_words=50, spatial_pyramid=(1, 2), random_state=0),
    LinearSVC(random_state=0),
)
print(f"accuracy {cross_val_score(pipeline, X, y, cv=3).mean():.3f}")
