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
