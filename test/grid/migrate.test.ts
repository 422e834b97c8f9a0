// n1: alice's session and the proxies of her jobs; n2 and n3: where they run and go. Needs root and CRIU (of the image).
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 3 })

const numbers = (last: number): string => Array.from({ length: last }, (_, n) => `${n + 1}\n`).join('')
/** Where the running jobs of a program are, as xps tells. */
const where = (program: string): string =>
  `xps --json | xlocal python3 -c 'import json, sys; print(*[(j["node"], j["state"]) for j in json.load(sys.stdin) if j["name"] == "${program}"])'`

test.serial('a pipeline that reads what comes from home is moved there and back: every line once, in order, with the same process ids and status', async (t) => {
  const { stdout, stderr } = await grid.exec(`
(for i in $(seq 60); do echo $i; sleep 0.05; done) | xrun --node n2 bash -c 'cat | while read x; do echo $x; echo $$ >> pids; done; exit 7' > lines.txt & job=$!
until [ -s lines.txt ]; do sleep 0.1; done
xmigrate $job --to n3 | sed -E 's/n1-[0-9]+|[0-9.]+[KM]?, stood.*//g'; ${where('bash')}; xmigrate --json $job --to n2 | grep -oE '"(from|node|processes)": [^,]*'
wait $job; echo status $?; cat lines.txt; sort -u pids | wc -l; ls .xos/checkpoints`)
  t.is(stdout, `job  (bash, 3 processes) moved from node n2 to node n3: \n('n3', 'running')\n"from": "n3"\n"node": "n2"\n"processes": 3\nstatus 7\n${numbers(60)}1\n`, stderr)
})

test.serial('a program on a terminal is moved under its user: nothing stops, and what is typed meanwhile reaches it', async (t) => {
  const { stdout, stderr } = await grid.exec(`cat > typist.py <<'END'
import fcntl, os, pty, select, struct, subprocess, sys, termios, time
def until(fd, text):
  seen = ''
  end = time.time() + 40
  while text not in seen:
    if time.time() > end: sys.exit('never came: %r in %r' % (text, seen))
    if select.select([fd], [], [], 0.2)[0]: seen += os.read(fd, 4096).decode(errors='replace')
  return seen
pid, fd = pty.fork()
if pid == 0: os.execvp('xrun', ['xrun', '--node', 'n2', 'bash', '--norc', '-i'])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 99, 0, 0))
os.write(fd, b'X=kept; echo rea""dy\\n')
until(fd, 'ready')
move = subprocess.Popen(['xmigrate', str(pid), '--to', 'n3'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
typed = 0
while move.poll() is None:
  typed += 1
  os.write(fd, b'N=$((N+1)); echo "turn $N"\\n')
  time.sleep(0.1)
print(move.returncode, move.stderr.read() if move.returncode else '')
until(fd, 'turn %d' % typed)
print(os.waitpid(pid, os.WNOHANG | os.WUNTRACED))
os.write(fd, b'echo value $X; stty size; exit 9\\n')
print('value kept' in until(fd, '33 99'))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
xlocal python3 typist.py`)
  t.is(stdout, '0 \n(0, 0)\nTrue\n9\n', stderr)
})

test.serial('what cannot move is refused with its reason, and the job goes on where it was', async (t) => {
  const { stdout, stderr } = await grid.exec(`cat > stays.py <<'END'
import os, time
name = '/run/lock/only-here-%d' % os.getpid()
held = open(name, 'w')
open('stays.run', 'w').close()
while not os.path.exists('enough'): time.sleep(0.05)
os.unlink(name)
END
XOS_NODE=n2 python3 stays.py & job=$!; until [ -e stays.run ]; do sleep 0.1; done
xmigrate $job --to n3; echo $?; xmigrate $job --to n9; echo $?; xmigrate $job --to n2; echo $?; xmigrate n1-99999; echo $?; xmigrate; echo $?
${where('python3')}; ls .xos/checkpoints; touch enough; wait $job; echo status $?; xmigrate $job; echo $?`)
  t.is(stdout, "1\n1\n1\n1\n2\n('n2', 'running')\nstatus 0\n1\n", stderr)
  t.regex(stderr, /'python3' \(process \d+\) has open '\/run\/lock\/only-here-\d+', which only this node has; [^]*no node 'n9'[^]*runs on node 'n2' already[^]*no such job[^]*JOB\|PID[^]*xmigrate: /)
})

test.serial('when the restore on the other node fails, the job goes on where it was, once', async (t) => {
  // CRIU of n3 ends in the middle: by kill -9.
  await grid.root('n3', 'mv /usr/sbin/criu /usr/sbin/criu.right; printf "#!/bin/sh\\nkill -9 \\$\\$\\n" > /usr/sbin/criu; chmod 755 /usr/sbin/criu')
  const { stdout, stderr } = await grid.exec(`
xrun --node n2 bash -c 'for i in $(seq 60); do echo $i; sleep 0.05; done; exit 5' > goes.txt & job=$!; until [ -s goes.txt ]; do sleep 0.1; done
xmigrate $job --to n3; echo $?; ${where('bash')}; wait $job; echo status $?; cat goes.txt; ls .xos/checkpoints`)
  await grid.root('n3', 'mv /usr/sbin/criu.right /usr/sbin/criu')
  t.is(stdout, `1\n('n2', 'running')\nstatus 5\n${numbers(60)}`, stderr)
  t.regex(stderr, /cannot migrate job 'n1-\d+' to node 'n3': .*; it goes on on node 'n2'\n/)
})
