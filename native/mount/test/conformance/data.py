"""Random operations on the contents of one file, through descriptors and mappings of two nodes, compared with bytes in memory.

What fsx of other file systems does; here two nodes take part, so that caches and leases are tried as well.
"""
import ctypes, errno, mmap, os, random

KEEP, PUNCH, ZERO = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class Shuffle:
    """`paths`: the same file as each node sees it. Whatever fails says the seed, the step and the last operations."""

    def __init__(self, paths, seed, size_max=400_000, mappings=True):
        self.paths, self.seed, self.size_max = list(paths), seed, size_max
        self.r = random.Random(seed)
        self.model = bytearray()
        self.fds = {}
        self.log = []
        self.operations = [self.write] * 5 + [self.read] * 6 + [self.append, self.truncate, self.extend, self.punch, self.zero, self.allocate, self.copy, self.sync,
                           self.reopen, self.stat, self.holes, self.vectored, self.send, self.direct, self.direct] + ([self.map_write, self.map_read] * 2 if mappings else [])

    def descriptor(self):
        node, how = self.r.randrange(len(self.paths)), self.r.choice(("plain", "plain", "plain", "synced"))
        if (node, how) not in self.fds:
            self.fds[node, how] = os.open(self.paths[node], os.O_RDWR | (os.O_DSYNC if how == "synced" else 0))
        self.note(f"by {how} of node {node}")
        return self.fds[node, how]

    def note(self, text):
        self.log[-1] += " " + text

    def span(self, within=False):
        """A range: small or large, at a page's edge or anywhere."""
        end = len(self.model) if within else self.size_max
        offset = self.r.randrange(max(1, end))
        if self.r.random() < 0.4:
            offset -= offset % 4096
        length = self.r.choice((self.r.randrange(1, 64), self.r.randrange(1, 5000), 4096, self.r.randrange(1, 140_000)))
        length = max(1, min(length, end - offset))
        self.note(f"[{offset}, {offset + length})")
        return offset, length

    def fill(self, length):
        return self.r.randbytes(length) if self.r.random() < 0.9 else bytes(length)

    def put(self, offset, data):
        if len(self.model) < offset:
            self.model.extend(bytes(offset - len(self.model)))
        self.model[offset:offset + len(data)] = data

    def same(self, got, offset, what):
        expected = self.model[offset:offset + len(got)]
        if got != expected:
            at = next(i for i, (x, y) in enumerate(zip(got, expected)) if x != y)
            raise AssertionError(f"{what}: byte {offset + at} is {got[at]} and not {expected[at]}, of {len(got)} bytes from {offset}")

    def write(self):
        offset, length = self.span()
        data = self.fill(length)
        assert os.pwrite(self.descriptor(), data, offset) == length
        self.put(offset, data)

    def direct(self):
        """Past the page cache, in whole blocks and from a page of memory: where the kernel has the object itself, that one's file system wants it so."""
        node = self.r.randrange(len(self.paths))
        offset, length = self.r.randrange((self.size_max - 65536) // 4096) * 4096, self.r.choice((4096, 8192, 65536))
        self.note(f"[{offset}, {offset + length}) at node {node}")
        with mmap.mmap(-1, length) as buffer:
            fd = os.open(self.paths[node], os.O_RDWR | os.O_DIRECT)
            try:
                if self.r.random() < 0.5:
                    buffer[:] = self.fill(length)
                    assert os.pwritev(fd, [buffer], offset) == length
                    self.put(offset, buffer[:])
                else:
                    n = os.preadv(fd, [buffer], offset)
                    assert n == max(0, min(length, len(self.model) - offset)), f"read {n} bytes of a file of {len(self.model)}"
                    self.same(buffer[:n], offset, "direct read")
            finally:
                os.close(fd)

    def vectored(self):
        offset, length = self.span()
        data = self.fill(length)
        cut = self.r.randrange(length + 1)
        assert os.pwritev(self.descriptor(), [data[:cut], data[cut:]], offset) == length
        self.put(offset, data)

    def append(self):
        node = self.r.randrange(len(self.paths))
        data = self.fill(self.r.randrange(1, 20_000))
        if len(self.model) + len(data) > self.size_max:
            return
        self.note(f"{len(data)} bytes by node {node}")
        if (node, "append") not in self.fds:
            self.fds[node, "append"] = os.open(self.paths[node], os.O_WRONLY | os.O_APPEND)
        assert os.write(self.fds[node, "append"], data) == len(data)
        self.model += data

    def read(self):
        offset, length = self.span()
        got = os.pread(self.descriptor(), length, offset)
        assert len(got) == max(0, min(length, len(self.model) - offset)), f"read {len(got)} bytes of a file of {len(self.model)}"
        self.same(got, offset, "read")

    def send(self):
        """By the kernel's splice: sendfile to a pipe."""
        if not self.model:
            return
        offset, length = self.span(within=True)
        fd = self.descriptor()
        os.fstat(fd)  # as before copy_file_range
        reader, writer = os.pipe()
        try:
            n = os.sendfile(writer, fd, offset, min(length, 30_000))
            self.same(os.read(reader, n), offset, "sendfile")
            assert n > 0
        finally:
            os.close(reader)
            os.close(writer)

    def cut(self, size):
        self.note(f"to {size}")
        if self.r.random() < 0.5:
            os.ftruncate(self.descriptor(), size)
        else:
            os.truncate(self.r.choice(self.paths), size)
        if size <= len(self.model):
            del self.model[size:]
        else:
            self.model.extend(bytes(size - len(self.model)))

    def truncate(self):
        self.cut(self.r.randrange(len(self.model) + 1) if self.r.random() < 0.9 else 0)

    def extend(self):
        self.cut(self.r.randrange(len(self.model), self.size_max + 1))

    def punch(self):
        offset, length = self.span()
        fallocate(self.descriptor(), PUNCH | KEEP, offset, length)
        self.model[offset:offset + length] = bytes(max(0, min(length, len(self.model) - offset)))

    def zero(self):
        offset, length = self.span()
        keep = self.r.random() < 0.5
        fallocate(self.descriptor(), ZERO | (KEEP if keep else 0), offset, length)
        if keep:
            length = max(0, min(length, len(self.model) - offset))
        if length:
            self.put(offset, bytes(length))

    def allocate(self):
        offset, length = self.span()
        keep = self.r.random() < 0.5
        fallocate(self.descriptor(), KEEP if keep else 0, offset, length)
        if not keep and offset + length > len(self.model):
            self.model.extend(bytes(offset + length - len(self.model)))

    def copy(self):
        """Inside the file, by copy_file_range; ranges that overlap are refused by the kernel."""
        if not self.model:
            return
        offset, length = self.span(within=True)
        to = self.r.randrange(self.size_max)
        length = min(length, self.size_max - to)
        if to < offset + length and offset < to + length:
            return
        self.note(f"to {to}")
        fd = self.descriptor()
        # The kernel cuts the range at the size that it has seen last, and does not ask for it; programs that copy have asked.
        os.fstat(fd)
        done = 0
        while done < length:
            n = os.copy_file_range(fd, fd, length - done, offset + done, to + done)
            assert n > 0
            self.put(to + done, bytes(self.model[offset + done:offset + done + n]))
            done += n

    def map_write(self):
        if not self.model:
            return
        offset, length = self.span(within=True)
        node = self.r.randrange(len(self.paths))
        fd = os.open(self.paths[node], os.O_RDWR)
        self.note(f"at node {node}")
        with mmap.mmap(fd, len(self.model)) as m:
            os.close(fd)
            data = self.fill(length)
            m[offset:offset + length] = data
            m.flush()
        self.put(offset, data)

    def map_read(self):
        if not self.model:
            return
        offset, length = self.span(within=True)
        node = self.r.randrange(len(self.paths))
        fd = os.open(self.paths[node], os.O_RDONLY)
        self.note(f"at node {node}")
        with mmap.mmap(fd, len(self.model), prot=mmap.PROT_READ) as m:
            os.close(fd)
            self.same(m[offset:offset + length], offset, "mapping")

    def sync(self):
        os.fsync(self.descriptor())

    def reopen(self):
        key = self.r.choice(sorted(self.fds)) if self.fds else None
        if key:
            self.note(f"{key}")
            os.close(self.fds.pop(key))

    def stat(self):
        for path in self.paths:
            assert os.stat(path).st_size == len(self.model), f"size {os.stat(path).st_size} instead of {len(self.model)}"
        size = os.fstat(self.descriptor()).st_size
        assert size == len(self.model), f"size {size} by descriptor instead of {len(self.model)}"

    def holes(self):
        """What is said to be a hole must be zeros."""
        fd = self.descriptor()
        at = 0
        while at < len(self.model):
            try:
                data = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as e:
                assert e.errno == errno.ENXIO
                data = len(self.model)
            assert at <= data <= len(self.model) and not any(self.model[at:data]), f"a hole of [{at}, {data}) is none"
            if data == len(self.model):
                return
            at = os.lseek(fd, data, os.SEEK_HOLE)
            assert data < at <= len(self.model)

    def step(self):
        operation = self.r.choice(self.operations)
        self.log.append(operation.__name__)
        del self.log[:-30]
        operation()

    def run(self, steps):
        open(self.paths[0], "wb").close()
        step = 0
        try:
            for step in range(steps):
                self.step()
            for path in self.paths:
                with open(path, "rb") as f:
                    got = f.read()
                assert len(got) == len(self.model)
                self.same(got, 0, "the whole at the end")
        except (AssertionError, OSError) as e:
            raise AssertionError(f"seed {self.seed}, step {step}: {e}\n  " + "\n  ".join(self.log)) from e
        finally:
            for fd in self.fds.values():
                os.close(fd)
