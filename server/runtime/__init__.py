"""The only mutable state of the server: sessions, batchers and the models that hold them."""
