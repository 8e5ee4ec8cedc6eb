"""A stand-in for gs:// behind `tf.io.gfile`: a flat table of objects, as object stores are.

A folder is there while a file is in it; renaming one and appending to a file are refused; what is
written appears when the file is closed.
"""

import io
from types import SimpleNamespace

import tensorflow as tf


class ObjectStore:
    """The functions of `tf.io.gfile`.

    Args:
        objects: Dictionary of addresses and bytes.
    """

    def __init__(self, objects=None):
        self.objects = dict(objects or {})
        self.writes_left = None  # a machine that is switched off after this many

    def _changes(self):
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise KeyboardInterrupt
            self.writes_left -= 1

    def GFile(self, address, mode):
        return _Object(self, address, mode)

    def get(self, address):
        if address not in self.objects:
            raise tf.errors.NotFoundError(None, None, f"Object {address} does not exist.")
        return self.objects[address]

    def exists(self, address):
        return address in self.objects or self.isdir(address)

    def isdir(self, address):
        prefix = address.rstrip("/") + "/"
        return any(key.startswith(prefix) for key in self.objects)

    def listdir(self, address):
        prefix = address.rstrip("/") + "/"
        names = {key.removeprefix(prefix) for key in self.objects if key.startswith(prefix)}
        if not names:
            raise tf.errors.NotFoundError(None, None, f"{address} does not exist")
        return sorted({name.partition("/")[0] + "/" * ("/" in name) for name in names})

    def stat(self, address):
        return SimpleNamespace(length=len(self.get(address)), mtime_nsec=0)

    def remove(self, address):
        self._changes()
        self.get(address)
        del self.objects[address]

    def rmtree(self, address):
        for key in [key for key in self.objects if key.startswith(address.rstrip("/") + "/")]:
            self.remove(key)

    def rename(self, source, target, overwrite=False):
        self._changes()
        if self.isdir(source):
            raise tf.errors.UnimplementedError(None, None, "folders cannot be renamed")
        content = self.get(source)
        if target in self.objects and not overwrite:
            raise tf.errors.AlreadyExistsError(None, None, target)
        self.objects[target] = content
        del self.objects[source]

    def copy(self, source, target, overwrite=False):
        if source.startswith("gs://"):
            content = self.get(source)
        else:
            with open(source, "rb") as file:
                content = file.read()
        if not target.startswith("gs://"):
            with open(target, "wb") as file:
                file.write(content)
            return
        self._changes()
        if target in self.objects and not overwrite:
            raise tf.errors.AlreadyExistsError(None, None, target)
        self.objects[target] = content


class _Object(io.BytesIO):
    _mode = None  # until it is open: Python closes also what could not be

    def __init__(self, store, address, mode):
        if mode not in ("rb", "wb"):
            raise tf.errors.UnimplementedError(None, None, f"mode {mode}: no appending")
        super().__init__(store.get(address) if mode == "rb" else b"")
        self._store, self._address, self._mode = store, address, mode

    def size(self):
        return len(self.getbuffer())

    def close(self):
        content = None if self.closed else self.getvalue()
        super().close()
        if self._mode == "wb" and content is not None:
            self._store._changes()
            self._store.objects[self._address] = content
