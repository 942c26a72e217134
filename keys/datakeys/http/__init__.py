"""The data keys over HTTP: what each operation takes and answers, and the two transports that serve it."""
