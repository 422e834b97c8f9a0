// Programs of all kinds, each checkpointed at work on n2 and restarted on n3: what they print there is what they would have printed undisturbed.
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 3 })

interface Program {
  /** Makes what it needs in its directory. */
  readonly before?: string
  /** Writes the file 'ready' when its state is worth keeping, goes on at least until there is a file 'go', and prints what it found. */
  readonly run: string
  readonly prints: string
}

const moved = test.macro({
  title: (name = '') => `${name}: goes on on another node`,
  async exec (t, { before = ':', run, prints }: Program) {
    const directory = t.title.replace(/:.*/, '').replaceAll(/[^A-Za-z0-9]+/g, '-').slice(0, 48)
    const { stdout, stderr } = await grid.exec(`mkdir ${directory} && cd ${directory}
(${before}\n) > before.txt 2>&1 || { cat before.txt; exit 1; }
cat > run.sh <<'RUN'
${run}
RUN
xrun --node n2 bash run.sh > out.txt 2> err.txt & until [ -e ready ] || [ -s err.txt ]; do sleep 0.1; done
xcheckpoint $! --name ${directory} > taken.txt || { echo not taken; xcheckpoint --check $!; }
touch go; xrestart ${directory} --node n3 > restarted.txt; wait $!; echo status $?; cat out.txt err.txt; xcheckpoint rm ${directory}`, { timeout_ms: 120_000 })
    t.is(stdout, `status 0\n${prints}`, stderr)
  },
})

/** A python program that prints "good" when all that it looks at was good. */
const python = (text: string): string => `cat > program.py <<'END'
import os, sys, time
def ready(): open('ready', 'w').close()
def gone(): return os.path.exists('go')
${text}
print('good')
END
exec python3 program.py`

test.serial('a busy perl program', moved, {
  run: `exec perl -e '
my ($sum, $n, %seen) = (1, 0);
until ($n % 100_000 == 0 && $n >= 300_000 && -e "go") { $sum = ($sum * 48271) % 2147483647; $seen{$n % 1000} = $sum; $n++; if ($n == 200_000) { open my $f, ">", "ready"; } }
my ($again, %kept) = (1); for my $i (0 .. $n - 1) { $again = ($again * 48271) % 2147483647; $kept{$i % 1000} = $again; }
print $again == $sum && join(",", map $seen{$_}, 0 .. 999) eq join(",", map $kept{$_}, 0 .. 999) ? "good\n" : "bad\n";'`,
  prints: 'good\n',
})

test.serial('16 threads with locks and a barrier', moved, {
  before: `cat > threads.c <<'END'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
enum { threads = 16 };
static pthread_barrier_t barrier;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static long rounds, sum, turn;
static atomic_int over;
static __thread long mine;
static void *work(void *argument) {
  const long me = (long)argument;
  for (;;) {
    pthread_mutex_lock(&lock);
    while (turn != me) pthread_cond_wait(&turned, &lock);
    sum += me;
    turn = (turn + 1) % threads;
    pthread_cond_broadcast(&turned);
    pthread_mutex_unlock(&lock);
    mine++;
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
      rounds++;
      if (rounds == 50) fclose(fopen("ready", "w"));
      if (rounds > 60 && access("go", F_OK) == 0) over = 1;
    }
    pthread_barrier_wait(&barrier);
    if (over) return (void *)mine;
  }
}
int main(void) {
  pthread_t ids[threads];
  pthread_barrier_init(&barrier, NULL, threads);
  for (long i = 0; i < threads; i++) pthread_create(&ids[i], NULL, work, (void *)i);
  int good = 1;
  for (int i = 0; i < threads; i++) {
    void *own;
    pthread_join(ids[i], &own);
    good = good && (long)own == rounds;
  }
  puts(good && sum == rounds * (threads * (threads - 1) / 2) ? "good" : "bad");
}
END
gcc -O1 -pthread threads.c -o threads`,
  run: 'exec ./threads',
  prints: 'good\n',
})

test.serial('100 processes in a ring of pipes, sockets and shared memory', moved, {
  run: python(`import mmap, socket, struct
count = 100
shared = mmap.mmap(-1, 8 * count)  # how often the token was at each
links = []
for i in range(count):
  if i % 2: links.append(os.pipe())
  else:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM if i % 4 else socket.SOCK_SEQPACKET)
    links.append((ends[1].detach(), ends[0].detach()))
def pass_on(me):
  source, target = links[me][0], links[(me + 1) % count][1]
  while True:
    token = os.read(source, 8)
    if not token: os._exit(0)
    number, = struct.unpack('q', token)
    at, = struct.unpack_from('q', shared, 8 * me)
    struct.pack_into('q', shared, 8 * me, at + 1)
    if me == 0:
      if number == 500: ready()
      if number > 1000 and number % count == 0 and gone():
        for i in range(count):
          if struct.unpack_from('q', shared, 8 * i)[0] != number // count + (i == 0): os._exit(3)
        os._exit(7)
    os.write(target, struct.pack('q', number + 1))
children = []
for me in range(count):
  pid = os.fork()
  if pid == 0: pass_on(me)
  children.append(pid)
os.write(links[0][1], struct.pack('q', 0))
assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
import signal
for pid in children[1:]: os.kill(pid, signal.SIGTERM)
for pid in children[1:]: assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM`),
  prints: 'good\n',
})

test.serial('make -j4 of a C project', moved, {
  // What is linked last waits for the move; four compilers are at work meanwhile, with files in /tmp between their steps.
  before: `for i in $(seq 12); do { for j in $(seq 40); do echo "int f_$i""_$j(int x) { int y = x; for (int k = 0; k < x; k++) y += k % ($j + 2); return y ^ $i; }"; done; echo "int part_$i(void) { return f_$i""_40(30); }"; } > part$i.c; done
{ for i in $(seq 12); do echo "int part_$i(void);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int sum = 0;'; for i in $(seq 12); do echo "sum += part_$i();"; done; echo 'printf("sum %d\\n", sum); }'; } > main.c
printf 'objects = $(patsubst %%.c,%%.o,$(wildcard *.c))\nproject: waits $(objects)\n\tgcc -o $@ $(objects)\nwaits: part1.o\n\ttouch ready; until [ -e go ]; do sleep 0.1; done\n%%.o: %%.c\n\tgcc -O2 -c -o $@ $<\n' > Makefile`,
  run: 'make -s -j4 && ./project',
  prints: `sum ${Array.from({ length: 12 }, (_, part) => 30 + Array.from({ length: 30 }, (_, k) => k % 42).reduce((sum, k) => sum + k, 0) ^ part + 1).reduce((sum, value) => sum + value, 0)}\n`,
})

test.serial('gcc in the middle of a file', moved, {
  run: `(echo 'int first(void) { return 40; }'; sleep 0.3; touch ready; until [ -e go ]; do sleep 0.1; done; echo 'int main(void) { return first() + 2; }') | gcc -O2 -o middle -x c -; echo gcc $?; ./middle; echo $?`,
  prints: 'gcc 0\n42\n',
})

test.serial('POSIX shared memory, semaphores and a socket in /tmp', moved, {
  run: python(`import ctypes, multiprocessing, multiprocessing.shared_memory, socket, tempfile
libc = ctypes.CDLL(None, use_errno=True)
libc.sem_open.restype = ctypes.c_void_p
named = ctypes.c_void_p(libc.sem_open(b'/named', os.O_CREAT, 0o600, 2))
shared = multiprocessing.shared_memory.SharedMemory(create=True, size=1 << 20)
shared.buf[:4] = b'kept'
lock, done = multiprocessing.Semaphore(0), multiprocessing.Semaphore(0)
place = tempfile.TemporaryDirectory()
server = socket.socket(socket.AF_UNIX)
server.bind(place.name + '/socket')
server.listen()
def other(name):
  mine = multiprocessing.shared_memory.SharedMemory(name=name)
  early = socket.socket(socket.AF_UNIX)
  early.connect(place.name + '/socket')
  lock.acquire()
  early.send(b'early')
  late = socket.socket(socket.AF_UNIX)
  late.connect(place.name + '/socket')
  late.send(b'late')
  mine.buf[4:9] = b' good'
  done.release()
  mine.close()
child = multiprocessing.get_context('fork').Process(target=other, args=(shared.name,))
child.start()
connected = server.accept()[0]
ready()
while not gone(): time.sleep(0.05)
lock.release()
assert done.acquire(timeout=30) and bytes(shared.buf[:9]) == b'kept good'
assert connected.recv(9) == b'early' and server.accept()[0].recv(9) == b'late'
again = ctypes.c_void_p(libc.sem_open(b'/named', 0))
for semaphore in named, again: assert libc.sem_trywait(semaphore) == 0
assert libc.sem_trywait(named) == -1
child.join(30)
libc.sem_unlink(b'/named')
place.cleanup()
shared.close()
shared.unlink()`),
  prints: 'good\n',
})

test.serial('a writer of sqlite with a write-ahead log', moved, {
  run: python(`import sqlite3
base = sqlite3.connect('base', isolation_level=None)
assert base.execute('PRAGMA journal_mode=WAL').fetchone()[0] == 'wal'
base.execute('CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)')
n = 0
while n < 60 or n % 10 or not gone():
  if n % 10 == 0: base.execute('BEGIN IMMEDIATE')
  base.execute('INSERT INTO t VALUES (?, ?)', (n, 'x' * (n % 500)))
  n += 1
  if n % 10 == 0: base.execute('COMMIT')
  if n == 45: ready()
assert base.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'
assert base.execute('SELECT count(*), max(n), sum(length(text)) FROM t').fetchone() == (n, n - 1, sum(i % 500 for i in range(n)))
base.close()`),
  prints: 'good\n',
})

test.serial('a long computation over a pipeline', moved, {
  before: `python3 -c "
import random
random.seed(5)
print(' '.join(str(random.random()) for _ in range(300000)))" > data.txt; sha256sum < data.txt | cut -c1-64 > wanted.txt`,
  run: '(sleep 0.2; touch ready) & gzip -9 < data.txt | (sleep 3; cat) | (cat; until [ -e go ]; do sleep 0.1; done) | gzip -d | sha256sum | cut -c1-64 | cmp - wanted.txt && echo good',
  prints: 'good\n',
})

test.serial('a file that was deleted, and one whose name has another now', moved, {
  run: python(`with open('deleted', 'w+') as deleted, open('replaced', 'w+') as replaced:
  for file in deleted, replaced:
    file.write('a line that stays\\n' * 1000)
    file.flush()
    os.unlink(file.name)
  with open('replaced', 'w') as other: other.write('another one')
  ready()
  while not gone(): time.sleep(0.05)
  for file in deleted, replaced:
    file.seek(0)
    assert file.read() == 'a line that stays\\n' * 1000
  assert not os.path.exists('deleted') and open('replaced').read() == 'another one'`),
  prints: 'good\n',
})

test.serial('locks of flock and fcntl', moved, {
  run: python(`import fcntl
files = [open(name, 'w+') for name in ('flock', 'shared', 'fcntl')]
fcntl.flock(files[0], fcntl.LOCK_EX)
fcntl.flock(files[1], fcntl.LOCK_SH)
fcntl.lockf(files[2], fcntl.LOCK_EX, 10, 5)
fcntl.lockf(files[2], fcntl.LOCK_SH, 10, 100)
ready()
while not gone(): time.sleep(0.05)
def refused(lock, *arguments):
  try: lock(*arguments)
  except BlockingIOError: return True
  return False
if os.fork() == 0:
  again = [open(file.name, 'r+') for file in files]
  tries = [refused(fcntl.flock, again[0], fcntl.LOCK_SH | fcntl.LOCK_NB), refused(fcntl.flock, again[1], fcntl.LOCK_EX | fcntl.LOCK_NB), refused(fcntl.flock, again[1], fcntl.LOCK_SH | fcntl.LOCK_NB)]
  tries += [refused(fcntl.lockf, again[2], kind | fcntl.LOCK_NB, 1, at) for at in (4, 5, 14, 15, 100) for kind in (fcntl.LOCK_SH, fcntl.LOCK_EX)]
  print(tries, flush=True)
  os._exit(0)
os.wait()`),
  prints: '[True, True, False, False, False, True, True, True, True, False, False, False, True]\ngood\n',
})

test.serial('epoll, eventfd, signalfd, timerfd and timers', moved, {
  run: python(`import ctypes, select, signal, struct
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
mask = ctypes.create_string_buffer(struct.pack('Q', 1 << (signal.SIGUSR1 - 1)), 128)
signals = libc.signalfd(-1, mask, 0)
counter, clock, poll = os.eventfd(5), os.timerfd_create(time.CLOCK_MONOTONIC), select.epoll()
os.timerfd_settime(clock, initial=0.2, interval=0.2)
for fd in signals, counter, clock: poll.register(fd, select.EPOLLIN)
alarms = 0
def alarm(*_):
  global alarms
  alarms += 1
signal.signal(signal.SIGALRM, alarm)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
os.kill(os.getpid(), signal.SIGUSR1)  # stays until it is read
ready()
while not gone(): time.sleep(0.05)
before = alarms
seen = {fd for fd, _ in poll.poll(5)}
assert counter in seen and signals in seen, seen
assert os.eventfd_read(counter) == 5 and os.read(signals, 128)[:4] == struct.pack('I', signal.SIGUSR1)
assert struct.unpack('Q', os.read(clock, 8))[0] > 0
end = time.time() + 30
while alarms < before + 3 and time.time() < end: time.sleep(0.05)
assert alarms >= before + 3`),
  prints: 'good\n',
})

test.serial('a web server and its client, in one job', moved, {
  run: python(`import http.client, http.server, threading
class Count(http.server.BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'
  count = 0
  def do_GET(self):
    Count.count += 1
    text = str(Count.count).encode()
    self.send_response(200)
    self.send_header('Content-Length', str(len(text)))
    self.end_headers()
    self.wfile.write(text)
  def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Count)
if os.fork() == 0:
  client, number = http.client.HTTPConnection('127.0.0.1', server.server_port), 0
  server.socket.close()
  while number < 50 or not gone():
    client.request('GET', '/')
    number += 1
    assert int(client.getresponse().read()) == number
    if number == 30: ready()
    time.sleep(0.005)
  os._exit(5)
threading.Thread(target=server.serve_forever, daemon=True).start()
assert os.waitstatus_to_exitcode(os.wait()[1]) == 5`),
  prints: 'good\n',
})
