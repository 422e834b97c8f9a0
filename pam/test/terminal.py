"""A program on a pseudo-terminal, driven as a user would."""
import errno
import os
import pty
import re
import select
import signal
import time


class Terminal:
    def __init__(self, *argv, env=None, bound=20):
        """Runs argv as the leader of a session whose terminal it is, as getty has it. `bound` seconds limit every wait."""
        self.bound, self.text, self.status = bound, '', None
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], list(argv), env if env is not None else {'PATH': '/usr/bin:/bin', 'TERM': 'xterm'})

    def pump(self, wait):
        ready, _, _ = select.select([self.master], [], [], wait)
        if not ready:
            return
        try:
            self.text += os.read(self.master, 65536).decode('utf-8', 'replace')
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            time.sleep(0.02)  # nobody has the other side open now: login's vhangup(), or the end

    def expect(self, pattern):
        """Waits for the pattern and takes everything up to its end off the text. Returns the match."""
        end = time.monotonic() + self.bound
        while True:
            match = re.search(pattern, self.text, re.S)
            if match:
                self.text = self.text[match.end():]
                return match
            if time.monotonic() > end or (self.poll() is not None and not self.drain()):
                raise AssertionError(f'waited for {pattern!r}, got {self.text!r}, status {self.status}')
            self.pump(0.1)

    def drain(self):
        before = len(self.text)
        self.pump(0.1)
        return len(self.text) > before

    def send(self, line):
        os.write(self.master, (line + '\n').encode())

    def run(self, command):
        """Types a command and returns what it printed. The marks are put together by the shell, so that the echo has none."""
        self.send(f'echo "<""<"; {command}; echo ">"">$?"')
        match = self.expect(r'<<\r?\n(.*?)>>(\d+)\r?\n')
        return match.group(1).replace('\r', ''), int(match.group(2))

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self):
        end = time.monotonic() + self.bound
        while self.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f'still running, after {self.text!r}')
            self.pump(0.05)
        while self.drain():
            pass
        return self.status

    def hang_up(self):
        """The line goes dead."""
        os.close(self.master)
        self.master = -1

    def close(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.master >= 0:
            os.close(self.master)
