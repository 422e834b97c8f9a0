// Programs of all kinds, each checkpointed at work on n2 and restarted on n3: what they print there is what they would have printed undisturbed.
import test from 'ava'
import { ensureImageRoot } from '../../src/setup/image/root.mjs'
import { run } from './support/command.ts'
import { expectDone, gridFor } from './support/grid.ts'

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

test.serial('python programs, one idle and one busy', moved, {
  run: python(`idle, awake = os.pipe()
busy = os.fork()
if busy == 0:
  total = n = 0
  while n < 2_000_000 or not gone():
    for n in range(n, n + 100_000): total += n * n % 7
    n += 1
    if n == 1_000_000: ready()
  assert total == sum(i * i % 7 for i in range(n))
  os.write(awake, b'awake')
  os._exit(0)
assert os.read(idle, 9) == b'awake' and os.wait()[1] == 0`),
  prints: 'good\n',
})

test.serial('inotify on files and directories of the home', moved, {
  run: python(`import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
watch = libc.inotify_init1(os.O_NONBLOCK)
os.mkdir('watched')
open('file', 'w').close()
wd_dir, wd_file = libc.inotify_add_watch(watch, b'watched', 0x100), libc.inotify_add_watch(watch, b'file', 0x2)
assert wd_dir > 0 and wd_file > 0
def events():
  text, found = os.read(watch, 4096), []
  while text:
    wd, mask, _, length = struct.unpack_from('iIII', text)
    found.append((wd, mask, text[16:16 + length].rstrip(bytes(1))))
    text = text[16 + length:]
  return found
ready()
while not gone(): time.sleep(0.05)
open('watched/new', 'w').close()
with open('file', 'w') as file: file.write('x')
got = events()
assert got == [(wd_dir, 0x100, b'new'), (wd_file, 0x2, b'')], got`),
  prints: 'good\n',
})

test.serial('System V shared memory, semaphores and messages', moved, {
  run: python(`import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
memory = libc.shmget(0x1234, 1 << 16, 0o1600)
at = libc.shmat(memory, None, 0)
ctypes.memmove(at, b'kept', 4)
semaphores = libc.semget(0, 3, 0o1600)
assert libc.semctl(semaphores, 1, 16, 5) == 0
queue = libc.msgget(0x77, 0o1600)
class Message(ctypes.Structure): _fields_ = [('kind', ctypes.c_long), ('text', ctypes.c_char * 16)]
assert libc.msgsnd(queue, ctypes.byref(Message(3, b'early')), 16, 0) == 0
child = os.fork()
if child == 0:
  answer = Message()
  assert libc.msgrcv(queue, ctypes.byref(answer), 16, 4, 0) == 16 and answer.text == b'late'
  ctypes.memmove(at + 4, b' good', 5)
  os._exit(0)
ready()
while not gone(): time.sleep(0.05)
assert libc.msgsnd(queue, ctypes.byref(Message(4, b'late')), 16, 0) == 0
assert os.waitpid(child, 0)[1] == 0
first = Message()
assert libc.msgrcv(queue, ctypes.byref(first), 16, 0, 0) == 16 and (first.kind, first.text) == (3, b'early')
assert ctypes.string_at(at, 9) == b'kept good' and libc.semctl(semaphores, 1, 12) == 5
assert libc.shmget(0x1234, 0, 0) == memory and libc.msgget(0x77, 0) == queue
libc.shmctl(memory, 0, None), libc.semctl(semaphores, 0, 0), libc.msgctl(queue, 0, None)`),
  prints: 'good\n',
})

test.serial('node with timers, a child and HTTP between them', moved, {
  before: `cat > program.mjs <<'END'
import { fork } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import http from 'node:http'
if (process.argv[2] === 'server') {
  let count = 0, ticks = 0
  setInterval(() => ticks++, 10)
  const server = http.createServer((request, response) => setTimeout(() => response.end(JSON.stringify({ count: ++count, ticks })), 5))
  server.listen(0, '127.0.0.1', () => process.send(server.address().port))
  process.on('message', () => process.exit(5))
} else {
  const server = fork(process.argv[1], ['server'])
  const port = await new Promise((resolve) => server.once('message', resolve))
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const ask = () => new Promise((resolve, reject) => http.get({ port, agent }, async (response) => resolve({ ...JSON.parse(await response.setEncoding('utf8').toArray().then((parts) => parts.join(''))), reused: response.req.reusedSocket })).on('error', reject))
  let number = 0, last
  while (number < 60 || !existsSync('go')) {
    last = await ask()
    if (last.count !== ++number || last.reused !== number > 1) throw new Error(JSON.stringify({ number, last }))
    if (number === 30) writeFileSync('ready', '')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  server.once('exit', (status) => console.log(status, last.ticks > number ? 'good' : last))
  server.send('end')
}
END`,
  run: 'exec /usr/lib/xos/bin/node program.mjs',
  prints: '5 good\n',
})

test.serial('tmux with bash and vim', moved, {
  run: `screen() { tmux capture-pane -p -t $1; }
tmux -f /dev/null new-session -d -s work -x 80 -y 20 'exec bash --norc -i'
tmux new-window -t work: 'exec vim -u NONE -N text.txt'
xlocal python3 -c 'import pty; pty.spawn(["tmux", "attach", "-t", "work"])' < /dev/null > attached.txt &
tmux send-keys -t work:0 'X=kept; echo rea""dy' Enter
tmux send-keys -t work:1 'iwritten before'
until screen work:0 | grep -q ready && screen work:1 | grep -q 'written before'; do sleep 0.05; done
touch ready; until [ -e go ]; do sleep 0.1; done
tmux send-keys -t work:1 ' and after' Escape ':wq' Enter
tmux send-keys -t work:0 'echo $X > value.txt; exit' Enter
while tmux has-session -t work 2> /dev/null; do sleep 0.05; done
wait; cat text.txt value.txt; grep -q 'written before' attached.txt && echo seen`,
  prints: 'written before and after\nkept\nseen\n',
})

test.serial('redis-server with clients: one in a transaction, one that waits, one that listens', moved, {
  run: python(`import socket, subprocess
with socket.socket() as spare:
  spare.bind(('127.0.0.1', 0))
  port = spare.getsockname()[1]
server = subprocess.Popen(['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--logfile', 'redis.log'])
class Client:
  def __init__(self):
    for attempt in range(200):
      try: self.file = socket.create_connection(('127.0.0.1', port), timeout=60).makefile('rwb'); return
      except ConnectionRefusedError: time.sleep(0.05)
  def send(self, *words):
    words = [str(word).encode() for word in words]
    self.file.write(b'*%d\\r\\n' % len(words) + b''.join(b'$%d\\r\\n%s\\r\\n' % (len(word), word) for word in words))
    self.file.flush()
  def read(self):
    line = self.file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b'$': return self.file.read(int(rest) + 2)[:-2] if rest != b'-1' else None
    return [self.read() for _ in range(int(rest))] if kind == b'*' else int(rest) if kind == b':' else line[:-2]
  def ask(self, *words): self.send(*words); return self.read()
writer, waiter, listener = Client(), Client(), Client()
for n in range(2000): assert writer.ask('set', 'key-%d' % n, str(n) * 50) == b'+OK'
assert listener.ask('subscribe', 'news') == [b'subscribe', b'news', 1]
waiter.send('blpop', 'queue', 0)
assert writer.ask('multi') == b'+OK' and writer.ask('incr', 'count') == b'+QUEUED'
other = Client()
n = 0
while n < 1000 or not gone():
  n += 1
  assert other.ask('incr', 'other') == n
  if n == 500: ready()
assert writer.ask('exec') == [1] and writer.ask('publish', 'news', 'late') == 1 and writer.ask('rpush', 'queue', 'here') == 1
assert listener.read() == [b'message', b'news', b'late'] and waiter.read() == [b'queue', b'here']
assert all(writer.ask('get', 'key-%d' % n) == (str(n) * 50).encode() for n in range(2000)) and writer.ask('dbsize') == 2002
writer.send('shutdown')
assert server.wait() == 0
assert subprocess.run(['redis-check-aof', 'appendonlydir/appendonly.aof.1.incr.aof'], stdout=subprocess.DEVNULL).returncode == 0`),
  prints: 'good\n',
})

const postgresql = 'a PostgreSQL cluster with a session in a transaction and one that writes'
// Its packages are those of the conformance suite: minutes the first time.
if (process.env['XOS_ROUNDS'] === undefined) test.skip(`${postgresql}: with XOS_ROUNDS`, (t) => t.pass())
else {
  test.serial('PostgreSQL is laid into the nodes', async (t) => {
    t.timeout(900_000)
    const root = await ensureImageRoot({ flavours: ['conformance'], log: new URL('../../build/setup.log', import.meta.url).pathname })
    for (const { pid } of (await grid.status()).nodes)
      await expectDone(run(['sh', '-c', `cd ${root} && find usr/lib/postgresql usr/share/postgresql usr/lib/x86_64-linux-gnu ! -name 'libLLVM*' ! -type d -print0 | tar -c --null -T - | tar -x --skip-old-files -C /proc/${pid}/root`], { timeout_ms: 120_000 }), 'tar')
    t.pass()
  })
  test.serial(postgresql, moved, {
    run: `export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH PGHOST=$(mktemp -d) PGDATABASE=postgres
initdb -D data -A trust --no-sync > log.txt && pg_ctl -D data -w -o "-c listen_addresses= -k $PGHOST" -l log.txt start > started.txt || cat log.txt
psql -qc 'create table numbers (n int primary key)'
coproc SESSION { psql -qAt; }
echo "begin; insert into numbers select generate_series(1, 1000); select 'inserted';" >&\${SESSION[1]}; read line <&\${SESSION[0]}; echo $line
(n=5000; until [ -e go ]; do n=$((n + 1)); psql -qc "insert into numbers values ($n)"; [ $n -lt 5010 ] || touch ready; done; echo $n > last.txt) &
writer=$!; wait $writer
echo "select count(*) from numbers where n <= 1000; commit;" >&\${SESSION[1]}; read line <&\${SESSION[0]}; echo $line
psql -qAtc "select count(*) from numbers where n <= 1000 or n > 5000 and n <= $(cat last.txt) having count(*) = $(($(cat last.txt) - 4000)) and max(n) = $(cat last.txt)" | grep -c .
pg_ctl -D data -m smart -w stop > stopped.txt & eval "exec \${SESSION[1]}>&-"; wait $!; pg_controldata data | grep 'cluster state'`,
    prints: 'inserted\n1000\n1\nDatabase cluster state:               shut down\n',
  })
}
