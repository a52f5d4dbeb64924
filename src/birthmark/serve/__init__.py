"""The live page: what a store holds, in a browser, while it is being written."""

from birthmark.serve.app import make_app
from birthmark.serve.server import serve_store
