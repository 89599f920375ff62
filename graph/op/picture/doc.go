// Package picture holds ImageDecoder: the operator that makes pixels of a picture in a
// file.
//
//	decode.go  the operator; which decoder reads what; colours of JPEG as libjpeg has them
//	jpeg.go    baseline JPEG with the inverse transform of libjpeg
//	plain.go   BMP, PBM, PGM, PPM
//	tiff.go    TIFF
package picture
