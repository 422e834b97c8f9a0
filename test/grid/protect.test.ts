// n1: alice's session and the proxies of her jobs; n2 and n3: where the jobs run, until n2 crashes and n3 is cut off with a relay that hangs. Needs root and CRIU (of the image).
// Takes a minute or two: with XOS_ROUNDS only. What a home relay does about its jobs' nodes is tested every time, by native/relay/test/lost.py.
import test from 'ava'
import { expectDone, gridFor, type TestGrid } from './support/grid.ts'

/** Counts until a file `enough` is there; status 7. Notes in /tmp of its node (links: nothing is open) when it was first and last alive there, by the machine's one clock. */
const lively = `rm -f enough; cat > count.py <<'END'
import os, sys, time
n = 0
while not os.path.exists('enough'):
  n += 1
  print(n, flush=True)
  now = repr(time.time())
  try: os.symlink(now, '/tmp/first-' + sys.argv[1])
  except FileExistsError: pass
  os.symlink(now, '/tmp/new-' + sys.argv[1]); os.replace('/tmp/new-' + sys.argv[1], '/tmp/last-' + sys.argv[1])
  time.sleep(0.1)
print('end', flush=True)
sys.exit(7)
END
cat > read.py <<'END'
import sys
for line in sys.stdin: print(line.strip(), flush=True)
END
cat > feed.py <<'END'
import os, time
n = 0
while not os.path.exists('enough'):
  n += 1
  print(n, flush=True)
  time.sleep(0.1)
print('last', flush=True)
END
`
interface Row { readonly state: string; readonly node: string; readonly protect_s: number | null; readonly checkpoint_ms: number | null }
/** Those that are protected. */
const jobs = async (grid: TestGrid): Promise<readonly Row[]> => (JSON.parse((await grid.exec('xps --json')).stdout || '[]') as readonly Row[]).filter(({ protect_s }) => protect_s === 10)

/** Where the output goes back to once (0: nowhere); everything before and after it is whole and in order. */
function goesOn (text: string): { whole: boolean; from: number; back: number } {
  const numbers = text.split('\n').filter((line) => /^\d+$/.test(line)).map(Number)
  const at = numbers.findIndex((number, index) => index > 0 && number !== numbers[index - 1]! + 1)
  const second = at < 0 ? [] : numbers.slice(at)
  return { whole: numbers[0] === 1 && second.every((number, index) => number === second[0]! + index), from: numbers[at - 1] ?? 0, back: second[0] ?? 0 }
}

const title = 'protected jobs go on elsewhere when their nodes are lost, one copy of each at a time, with their proxies, output and input'

if (process.env['XOS_ROUNDS'] === undefined) test.skip(`${title}: with XOS_ROUNDS`, (t) => t.pass())
else {
  const grid = gridFor(test, { nodes: 3 })
  test.serial(title, async (t) => {
    t.timeout(240_000)
    const running = grid.startExec(`${lively}
  xrun --node n2 --protect=10s python3 count.py a > a.txt 2> a.err & A=$!
  xrun --node n3 --protect=10s python3 count.py b > b.txt 2> b.err & B=$!
  xlocal python3 feed.py | XOS_PROTECT=10s xrun --node n2 python3 read.py > c.txt 2> c.err & C=$!
  wait $A; echo a $?; wait $B; echo b $?; wait $C; echo c $?`, { timeout_ms: 220_000 })
    await grid.until('each has a checkpoint', async () => (await jobs(grid)).filter(({ checkpoint_ms }) => checkpoint_ms !== null).length === 3)
    t.regex((await grid.exec('xps; xcheckpoint ls')).stdout, /KEPT[^]* ago [^]*protected\+n1-\d+\+\d+ .*whole, of a protected job/)
    await grid.root('n3', 'kill -STOP $(pgrep -x xos-relayd)')
    await expectDone(grid.xgrid(['cut', 'n3']), 'xgrid cut')
    await expectDone(grid.xgrid(['crash', 'n2']), 'xgrid crash')
    await grid.until('they wait to go on', async () => (await jobs(grid)).some(({ state }) => state === 'recovering'))
    try {
      await grid.until('they go on', async () => (await jobs(grid)).filter(({ state, node }) => (state === 'running' || state === 'checkpointing') && node === 'n1').length === 3, 120_000)
    } catch (thrown) {
      t.log((await grid.exec('cat a.txt | tail -3; cat a.err b.err c.err; xps -a; ls -la .xos/checkpoints')).stdout)
      t.log((await grid.root('n1', 'tail -n 60 /var/lib/xos/grids/*/nodes/n1/log/xos-relayd/current; tail -n 30 /var/lib/xos/grids/*/nodes/n1/log/xosd/current')).stdout)
      throw thrown
    }
    const seen = await grid.exec('wc -l < a.txt; wc -l < b.txt; wc -l < c.txt')
    const before = seen.stdout.split('\n').map(Number)
    await grid.until('they say more', async () => (await grid.exec('wc -l < a.txt; wc -l < b.txt; wc -l < c.txt')).stdout.split('\n').slice(0, 3).every((lines, index) => Number(lines) > before[index]! + 3))
    await grid.exec('touch enough')
    const { stdout, stderr } = await running.finished
    t.is(stdout, 'a 7\nb 7\nc 0\n', stderr)
    const texts = (await grid.exec('cat a.txt; echo =; cat b.txt; echo =; cat c.txt; echo =; cat a.err b.err c.err')).stdout.split('=\n')
    for (const text of texts.slice(0, 3)) {
      const { whole, from, back } = goesOn(text)
      t.true(whole && back !== 1 && back <= from + 1, `back from ${from} to ${back}: ${text}`)
      t.regex(text, /\n(end|last)\n$/)
    }
    t.regex(texts[3]!, /node 'n2' was lost; 'python3' \(job n1-\d+\) goes on elsewhere in \d+ s, from its checkpoint of \d\d:\d\d:\d\d\n.*'python3' \(job n1-\d+\) goes on on node 'n1'\n.*node 'n3' was lost/)
    const last = Number((await grid.root('n3', 'readlink /tmp/last-b')).stdout)
    const first = Number((await grid.root('n1', 'readlink /tmp/first-b')).stdout)
    t.true(last > 0 && last < first, `the copy on n3 was alive until ${last}, the one on n1 from ${first} on`)
    await grid.until('no checkpoint of them is left', async () => !(await grid.exec('ls .xos/checkpoints')).stdout.includes('protected'))
  })
}
