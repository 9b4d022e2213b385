"""How the parts of a gateway are made from the settings and put together; `gateway.py` puts together what comes out."""
