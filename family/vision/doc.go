// Package vision trains networks on images. Its task is classify: one label of a
// fixed set for each image.
package vision
