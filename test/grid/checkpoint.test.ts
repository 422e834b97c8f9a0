// n1: alice's session and the proxies of her jobs; n2 and n3: where the jobs run. Needs root and CRIU (of the image).
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 3, users: ['bob'] })

/** Prints a number every tenth of a second; the 30th is the last, and the status is 7. */
const counter = `cat > count.py <<'END'
import sys, time
for n in range(1, 31):
  print(n, flush=True)
  time.sleep(0.1)
sys.exit(7)
END
`
/** Waits until the job has written to `file`: it runs then. */
const begun = (file: string): string => `until [ -s ${file} ]; do sleep 0.1; done`
const numbers = (last: number): string => Array.from({ length: last }, (_, n) => `${n + 1}\n`).join('')

test.serial('a job goes on on another node, with its proxy, its output whole and its exit status', async (t) => {
  const { stdout, stderr } = await grid.exec(`${counter}
XOS_NODE=n2 python3 count.py > moved.txt & ${begun('moved.txt')}
xcheckpoint $! --name moved && xps --json | grep -o '"state": "[a-z]*"'
xrestart moved --node n3 && xps --json | grep -oE '"(state|node)": "[a-z0-9]*"'
wait $!; echo status $?; cat moved.txt`)
  t.regex(stdout, /^checkpoint 'moved' of job n1-\d+ \(python3, 1 process\): .*stood still for \d+ ms\nthe job has stopped; 'xrestart moved' lets it go on\n"state": "checkpointed"\n/, stderr)
  t.regex(stdout, /runs again on node n3, reattached to its terminal; 'fg' to bring it up\n"node": "n3"\n"state": "running"\nstatus 7\n/)
  t.is(stdout.slice(stdout.indexOf('status 7\n') + 9), numbers(30))
})

test.serial('a protected job has a checkpoint by itself, which xps tells and which goes when the job ends', async (t) => {
  const running = grid.startExec(`until [ -e fed ]; do sleep 0.1; done | xrun --node n2 --protect=10s cat; echo $? \${PIPESTATUS[@]}`)
  await grid.until('it is kept', async () => / ago .* cat *$/m.test((await grid.exec('xps')).stdout))
  t.regex((await grid.exec('xcheckpoint ls')).stdout, /protected\+n1-\d+\+1 .*whole, of a protected job/)
  const taken = await grid.exec('xcheckpoint --name protected+n1-1+9 n1-1')
  t.regex(taken.stderr, /are for the checkpoints of protected jobs/)
  await grid.exec('touch fed')
  t.is((await running.finished).stdout, '0 0 0\n')
  await grid.until('it has gone', async () => !(await grid.exec('ls .xos/checkpoints')).stdout.includes('protected'))
})

test.serial('a pipeline goes on: data that was under way comes through once and in order', async (t) => {
  const { stdout, stderr } = await grid.exec(`
XOS_NODE=n2 bash -c 'for i in $(seq 1000); do echo $i; sleep 0.001; done | cat | while read x; do echo $x; done' > pipe.txt & ${begun('pipe.txt')}
xcheckpoint $! --name pipe > /dev/null && xrestart pipe --node n3 > /dev/null; wait $!; echo status $?; cat pipe.txt`)
  t.is(stdout, `status 0\n${numbers(1000)}`, stderr)
})

test.serial('a program that reads what comes from home goes on reading', async (t) => {
  const { stdout, stderr } = await grid.exec(`
(for i in $(seq 20); do echo $i; sleep 0.1; done) | XOS_NODE=n2 python3 -u -c 'import sys
for line in sys.stdin: print("got", line.strip(), flush=True)' > reader.txt & ${begun('reader.txt')}
xcheckpoint $! --name reader > /dev/null && sleep 0.5 && xrestart reader --node n3 > /dev/null; wait $!; echo status $?; cat reader.txt`)
  t.is(stdout, `status 0\n${numbers(20).replaceAll(/^/gm, 'got ').slice(0, -4)}`, stderr)
})

test.serial('with --leave-running the job goes on, and its checkpoint can be restarted when it is over', async (t) => {
  const { stdout, stderr } = await grid.exec(`${counter}
XOS_NODE=n2 python3 count.py > kept.txt & ${begun('kept.txt')}
xcheckpoint $! --name kept --leave-running > /dev/null; echo taken $?
xrestart kept; echo refused $?
wait $!; echo status $?; cat kept.txt; xrestart kept --node n3 > again.txt; echo again $?`)
  t.is(stdout, `taken 0\nrefused 1\nstatus 7\n${numbers(30)}again 7\n`, stderr)
  t.regex(stderr, /cannot restart checkpoint 'kept': its job 'n1-\d+' is still there \(running, node n2\)/)
  const again = (await grid.exec('cat again.txt')).stdout
  t.true(again.length > 6 && numbers(30).endsWith(`\n${again}`), `xrestart became the proxy, and the output goes on where the checkpoint was: ${again}`)
})

test.serial('a job of some size goes on while its memory is stored, and its checkpoint on another node is of one moment', async (t) => {
  const { stdout, stderr } = await grid.exec(`cat > turns.py <<'END'
import os, sys, time
memory, pages, turn = bytearray(80 << 20), range(0, 80 << 20, 4096), 0
for page in pages: memory[page] = 1
while not os.path.exists('enough'):
  turn = turn % 250 + 1
  for page in pages: memory[page] = turn
  if turn == 3: open('turning', 'w').close()
print('apart', {memory[page] for page in pages} - {turn}, flush=True)
END
XOS_NODE=n2 python3 turns.py > out.txt & until test -e turning; do sleep 0.1; done
xcheckpoint $! --name turns --leave-running | grep -o '([^()]*)$'; touch enough; wait $!; echo status $?; cat out.txt
rm out.txt; xrestart turns --node n3; echo again $?; xcheckpoint rm turns`)
  t.is(stdout, '(copied while it ran)\nstatus 0\napart set()\napart set()\nagain 0\n', stderr)
})

test.serial('a terminal is reattached: bash keeps its variables and its window, and goes on waiting for a line', async (t) => {
  const { stdout, stderr } = await grid.exec(`cat > session.py <<'END'
import fcntl, os, pty, select, struct, subprocess, sys, termios, time
def until(fd, text):
  seen = ''
  end = time.time() + 20
  while text not in seen:
    if time.time() > end: sys.exit('never came: %r in %r' % (text, seen))
    if select.select([fd], [], [], 0.2)[0]: seen += os.read(fd, 4096).decode(errors='replace')
  return seen
pid, fd = pty.fork()
if pid == 0:
  os.environ['XOS_NODE'] = 'n2'
  os.execvp('xrun', ['xrun', '--node', 'n2', 'bash', '--norc', '-i'])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 99, 0, 0))
os.write(fd, b'X=kept; echo rea""dy; read LINE\\n')
until(fd, 'ready')
print(subprocess.run(['xcheckpoint', str(pid), '--name', 'shell'], capture_output=True, text=True).returncode)
until(fd, 'xrestart')
print(subprocess.run(['xrestart', 'shell', '--node', 'n3'], capture_output=True, text=True).returncode)
os.write(fd, b'typed later\\n')
os.write(fd, b'echo value $X, $LINE; stty size; exit 9\\n')
print('value kept, typed later' in until(fd, '33 99'))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
xlocal python3 session.py`)
  t.is(stdout, '0\n0\nTrue\n9\n', stderr)
})

test.serial('--check says in words what stands in the way; xz is refused and goes on', async (t) => {
  const { stdout, stderr } = await grid.exec(`mkfifo f; XOS_NODE=n2 xz -c < f > out.xz & exec 9> f; echo text >&9; until xwhere $! > /dev/null 2>&1; do sleep 0.1; done; sleep 1
xcheckpoint --check $!; echo check $?; xcheckpoint $! --name xz; echo refused $?; ls .xos/checkpoints/xz 2>&1; exec 9>&-; wait $!; echo status $?; xlocal xz -dc out.xz`)
  t.regex(stdout, /cannot be checkpointed now:\n +xz \(process \d+\) has put itself under Landlock restrictions\n.*\ncheck 1\nrefused 1\n.*No such file.*\nstatus 0\ntext\n$/, stderr)
})

test.serial("another user's job, and what is unknown, are refused with one clear line", async (t) => {
  const running = grid.startExec('XOS_NODE=n2 python3 -c "import time; time.sleep(60)"')
  let job = ''
  await grid.until('the job runs', async () => {
    const rows = JSON.parse((await grid.exec('xps --json')).stdout) as { id: string; state: string }[]
    job = rows.find(({ state }) => state === 'running')?.id ?? ''
    return job !== ''
  })
  for (const [line, text] of [
    [`xcheckpoint ${job}`, /belongs to alice@demo/], ['xcheckpoint n1-99999', /there is no such job/], ['xcheckpoint 1', /no job of yours has its proxy/],
    ['xcheckpoint n77-1', /no node 'n77'/], ['xrestart none', /there is none of that name/], ['xcheckpoint rm none', /there is none of that name/],
  ] as const) {
    const { status, stderr } = await grid.exec(line, { user: 'bob@demo' })
    t.is(status, 1, line)
    t.regex(stderr, text)
    t.is(stderr.split('\n').filter((each) => /^x(checkpoint|restart): /.test(each)).length, 1, stderr)
  }
  await grid.exec(`xkill -9 ${job}`)
  await running.finished
})

test.serial('a checkpoint that was cut off or changed is refused, and one whose node is unknown', async (t) => {
  const { stdout, stderr } = await grid.exec(`${counter}
XOS_NODE=n2 python3 count.py > bad.txt & ${begun('bad.txt')}
xcheckpoint $! --name bad > /dev/null; cd .xos/checkpoints/bad
xrestart bad --node n9; echo $?
cp pages-1.img keep; truncate -s -4096 pages-1.img; xrestart bad; echo $?; cp keep pages-1.img
printf X | dd of=pages-1.img bs=1 seek=70000 conv=notrunc status=none; xrestart bad; echo $?; cp keep pages-1.img
sed -i s/n2/n4/ manifest; xrestart bad; echo $?
xkill -9 $! ; wait $!; echo killed $?`)
  t.is(stdout, '1\n1\n1\n1\nkilled 137\n', stderr)
  t.regex(stderr, /no node 'n9'[^]*bytes instead of[^]*'pages-1.img' was changed[^]*manifest was changed/)
})

test.serial('a checkpoint is exported as plain images that criu restore takes, and imported again it is restarted', async (t) => {
  const { stdout, stderr } = await grid.exec(`cat > ticks.py <<'END'
import time
for n in range(1, 31):
  open('ticks', 'a').write('%d\\n' % n)
  time.sleep(0.1)
END
XOS_NODE=n2 python3 ticks.py < /dev/null > out.txt 2>&1 & ${begun('ticks')}
xcheckpoint $! --name plain > /dev/null; xcheckpoint verify plain | sed 's/: .* in/: in/'; xcheckpoint export plain $HOME/images | head -1 | grep -o 'root restores it.*'
xcheckpoint rm plain; xcheckpoint import images; ls .xos/checkpoints | grep -c . ; xcheckpoint verify images > /dev/null && xrestart images --node n3 > /dev/null; wait $!; echo status $?; cat ticks`)
  t.regex(stdout, new RegExp(`^checkpoint 'plain' is whole: in \\d+ files, signed by node n2\nroot restores it, where its process ids are free, with\ncheckpoint 'images' of job n1-\\d+ is there again [^]*\nstatus 0\n${numbers(30)}$`), stderr)
})

test.serial('images that were changed, cut off or made by somebody else are not imported, and nothing is left behind', async (t) => {
  const { stdout, stderr } = await grid.exec(`before=$(ls -A .xos/checkpoints)
try() { xcheckpoint import images --name other; echo $?; }
flip() { xlocal python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(int(sys.argv[2])); b = f.read(1)[0]; f.seek(-1, 1); f.write(bytes([b ^ 16]))' $1 $2; }
memory=$(ls images/pages-*.img | head -1)
flip $memory 5000; try; flip $memory 5000; flip images/core-100.img 30; try; flip images/core-100.img 30
cp $memory keep; truncate -s -1 $memory; try; cp keep $memory; cp images/manifest keep; sed -i s/n2/n3/ images/manifest; try
rm images/manifest; try; cp keep images/manifest; test "$(ls -A .xos/checkpoints)" = "$before" && echo clean; try`)
  t.is(stdout.replace(/checkpoint 'other' of.*/, 'imported'), '1\n1\n1\n1\n1\nclean\nimported\n0\n', stderr)
  t.regex(stderr, /was changed[^]*was changed[^]*was changed[^]*manifest was changed[^]*without the manifest that a node signed/)
})

test.serial('a job whose node died is recovered from its checkpoint', async (t) => {
  const running = grid.startExec(`${counter.replace('31', '61')}
XOS_NODE=n2 python3 count.py > saved.txt & ${begun('saved.txt')}; xcheckpoint $! --name saved --leave-running > /dev/null; echo ready; wait $!; echo status $?`)
  await grid.until('the checkpoint is there', async () => (await grid.exec('xcheckpoint ls')).stdout.includes('saved'))
  await grid.xgrid(['crash', 'n2'])
  const { stdout, stderr } = await running.finished
  t.is(stdout, 'ready\nstatus 137\n', stderr)
  const restarted = await grid.exec('xrestart saved --node n3')
  t.is(restarted.status, 7, restarted.stderr)
  t.regex(restarted.stdout, /\n59\n60\n$/)
})
