"""REST: who may ask what, how it is said over HTTP; knows no business rule."""
