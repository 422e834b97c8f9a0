"""The other end of /run/xos/agent.sock for tests of what must not happen: an agent that is slow, silent, wrong or hostile.

It speaks the socket's protocol (docs/architecture.md). What the real agent decides is tested with the real one, in test/grid/.
"""
import os
import re
import secrets
import socket
import threading
import time
import urllib.parse

SAFE = '@._:/+-'


def encode(value):
    return urllib.parse.quote(str(value), safe='@:/+').replace('~', '%7E')


def answer(status, **fields):
    lines = [f'status={status}'] + [f'{key.replace("__", ".")}={encode(value)}' for key, value in fields.items()]
    return ('\n'.join(lines) + '\n\n').encode()


class Agent:
    """`handler(request) -> bytes | list of (bytes | seconds)`; requests are kept in `seen`. Values are checked to be well coded."""

    def __init__(self, path, handler):
        self.path, self.handler, self.seen = path, handler, []
        if os.path.exists(path):
            os.unlink(path)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(path)
        os.chmod(path, 0o600)
        self.server.listen(16)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer:
            data = b''
            try:
                while not data.endswith(b'\n\n'):
                    part = peer.recv(65536)
                    if not part:
                        return
                    data += part
                request = {}
                for line in data.decode('ascii').splitlines():
                    if line:
                        assert re.fullmatch(r'[a-z_.]+=([A-Za-z0-9@._:/+-]|%[0-9A-F]{2})*', line), line
                        key, _, value = line.partition('=')
                        request[key] = urllib.parse.unquote(value)
                self.seen.append(request)
                reply = self.handler(request)
                for step in reply if isinstance(reply, list) else [reply]:
                    if isinstance(step, bytes):
                        peer.sendall(step)
                    else:
                        time.sleep(step)
            except (BrokenPipeError, ConnectionResetError):
                pass

    def ops(self):
        return [request['op'] for request in self.seen]

    def close(self):
        if self.server.fileno() < 0:
            return
        # First the thread, then the number of the descriptor: or it would take a connection of the next agent, which gets the same one.
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


class Honest:
    """Says yes to one password; a test changes `overrides[op]` (bytes, a list or a function) to make it lie."""

    def __init__(self, uids, password='right'):
        self.uids, self.password, self.overrides, self.ssh = uids, password, {}, None
        self.handles, self.sessions, self.expired = {}, {}, False

    def __call__(self, request):
        override = self.overrides.get(request['op'])
        if override is not None:
            return override(request) if callable(override) else override
        return getattr(self, 'on_' + request['op'])(request)

    def on_auth(self, request):
        user = request['user']
        if user.partition('@')[2] != 'demo':
            return answer('denied', reason='XOS_VO_UNKNOWN')
        if request['password'] != self.password or user not in self.uids:
            return answer('denied', reason='XOS_LOGIN_REFUSED')
        handle = secrets.token_hex(16)
        self.handles[handle] = user
        uid = self.uids[user]
        return answer('ok', user=user, uid=uid, gid=uid, home=f'/home/{user}', shell='/bin/bash', handle=handle)

    def on_account(self, request):
        if request['user'] not in self.uids:
            return answer('denied')
        return answer('ok', change=1) if self.expired and request.get('handle') in self.handles else answer('ok')

    def on_open(self, request):
        if request.get('ssh') and not request.get('handle') and self.ssh and request['ssh'].startswith(self.ssh):
            self.handles[None] = request['user']
        if self.expired or self.handles.pop(request.get('handle'), None) != request['user']:
            return answer('denied', reason='XOS_HANDLE_UNKNOWN')
        session, uid = secrets.token_hex(16), self.uids[request['user']]
        self.sessions[session] = request['user']
        return answer('ok', session=session, secret=secrets.token_hex(16), uid=uid, gid=uid, groups=uid, home=f'/home/{request["user"]}',
                      expires_ms=int(time.time() * 1000) + 28800000, credential='-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n',
                      env__XOS_NODE_NAME='n1', env__LD_PRELOAD='/tmp/evil.so', env__PATH='/tmp')

    def on_close(self, request):
        return answer('ok' if self.sessions.pop(request['session'], None) else 'denied')

    def on_password(self, request):
        if request['old'] != self.password:
            return answer('denied', reason='XOS_LOGIN_REFUSED')
        self.password = request['new']
        self.expired = False
        return answer('ok')

    def on_refresh(self, request):
        return answer('ok' if request['session'] in self.sessions else 'denied')
