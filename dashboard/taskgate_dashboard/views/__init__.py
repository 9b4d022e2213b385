"""One file a page; app.py decides which runs.

Not called `pages`: Streamlit would serve a folder of that name by itself, past the sign-in."""
