#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts bytes into the store of this machine's node and reads them in place, through the C library alone.

    make lib && LD_LIBRARY_PATH=build python3 Examples/python/put_get.py SOCKET
"""
import ctypes
import sys

ray = ctypes.CDLL("libraystore.so.0")
ray.ray_last_error_message.restype = ctypes.c_char_p
ray.ray_client_store.restype = ctypes.c_void_p
ray.ray_client_store.argtypes = [ctypes.c_void_p]


class ClientOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("job", ctypes.c_uint32),
        ("socket_path", ctypes.c_char_p),
        ("name_space", ctypes.c_char_p),
        ("timeout_ns", ctypes.c_uint64),
    ]


class ObjectID(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * 28)]


class ObjectView(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("data_size", ctypes.c_uint64),
        ("metadata", ctypes.c_void_p),
        ("metadata_size", ctypes.c_uint32),
        ("entry", ctypes.c_uint32),
        ("generation", ctypes.c_uint64),
    ]


def check(status):
    if status != 0:
        sys.exit("put_get.py: " + ray.ray_last_error_message().decode())


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: put_get.py SOCKET")
    options = ClientOptions(ctypes.sizeof(ClientOptions), 0, sys.argv[1].encode(), None, 0)
    client = ctypes.c_void_p()
    check(ray.ray_client_connect(ctypes.byref(options), ctypes.byref(client)))
    store = ctypes.c_void_p(ray.ray_client_store(client))

    text = b"written by Python, read in place"
    ref = ObjectID()
    check(ray.ray_client_put(client, text, ctypes.c_uint64(len(text)), b"B\x01", ctypes.c_uint32(2), ctypes.byref(ref)))
    view = ObjectView()
    check(ray.ray_client_get(client, ctypes.byref(ref), ctypes.c_uint64(10**9), ctypes.byref(view)))
    # Shared memory, mapped read-only: this memoryview copies nothing. It is void after the release.
    seen = memoryview((ctypes.c_uint8 * view.data_size).from_address(view.data))
    print(bytes(ref.bytes).hex(), bytes(seen).decode())

    ray.ray_object_release(store, ctypes.byref(view))
    check(ray.ray_client_release_ref(client, ctypes.byref(ref)))
    ray.ray_client_close(client)


main()
