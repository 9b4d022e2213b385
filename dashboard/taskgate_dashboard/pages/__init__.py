"""One file a page; app.py decides which runs."""
