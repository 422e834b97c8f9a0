"""login.py SERVICE USER COUNT < password: PAM's authenticate and acct_mgmt, COUNT times in one process; prints p50_ms and p95_ms as JSON."""
import ctypes
import json
import sys
import time

libpam, libc = ctypes.CDLL('libpam.so.0'), ctypes.CDLL(None)
libc.strdup.restype = ctypes.c_void_p
libc.calloc.restype = ctypes.c_void_p


class Message(ctypes.Structure):
    _fields_ = [('style', ctypes.c_int), ('text', ctypes.c_char_p)]


class Response(ctypes.Structure):
    _fields_ = [('text', ctypes.c_void_p), ('status', ctypes.c_int)]


Converse = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.POINTER(Message)), ctypes.POINTER(ctypes.POINTER(Response)), ctypes.c_void_p)


class Conversation(ctypes.Structure):
    _fields_ = [('converse', Converse), ('data', ctypes.c_void_p)]


password = sys.stdin.readline().rstrip('\n').encode()


@Converse
def converse(count, messages, responses, data):
    all_of_them = ctypes.cast(libc.calloc(count, ctypes.sizeof(Response)), ctypes.POINTER(Response))
    for i in range(count):
        if messages[i].contents.style == 1:
            all_of_them[i].text = libc.strdup(password)
    responses[0] = all_of_them
    return 0


def login(service, user):
    handle = ctypes.c_void_p()
    conversation = Conversation(converse, None)
    began = time.perf_counter()
    result = libpam.pam_start(service, user, ctypes.byref(conversation), ctypes.byref(handle))
    for step in (libpam.pam_authenticate, libpam.pam_acct_mgmt):
        result = result or step(handle, 0)
    took = time.perf_counter() - began
    libpam.pam_end(handle, result)
    if result:
        sys.exit(f'login of {user.decode()} by {service.decode()} failed: PAM status {result}')
    return 1000 * took


service, user, count = sys.argv[1].encode(), sys.argv[2].encode(), int(sys.argv[3])
login(service, user)
times = sorted(login(service, user) for _ in range(count))
print(json.dumps({'p50_ms': times[len(times) // 2], 'p95_ms': times[min(len(times) - 1, int(0.95 * len(times)))]}))
