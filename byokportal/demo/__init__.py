"""The journey of `make demo`: HTTP and AWS calls only; importing anything of ours but this package fails a lint."""
