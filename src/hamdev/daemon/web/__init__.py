"""The live page: a socket on 127.0.0.1, who may talk to it, and what it serves.

Starlette and uvicorn are imported when somebody opens the page for the first time.
"""
