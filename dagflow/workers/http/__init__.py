"""What workers that ask a server over HTTP share. They add how a request is written and an answer read.

Nothing here waits for a timeout but that of connecting, retries, limits or counts: the guards around each worker do.
"""
