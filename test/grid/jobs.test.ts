// n1 (home of the jobs, registry), n2 and n3; alice works, bob looks on. n3 dies at the end.
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 3, users: ['bob'] })

interface Row { readonly id: string; readonly name: string; readonly node: string; readonly home: string; readonly state: string; readonly user: string; readonly vo: string; readonly cpu_seconds: number; readonly memory_bytes: number; readonly argv: string[]; readonly exit_code: number | null }

/** What `xps` shows there when every living node answered it: on a busy machine one may miss the second that it has, and is named on stderr. */
async function jobs(node = 'n1', options = '', { user = 'alice@demo', dead = 'none' } = {}): Promise<Row[]> {
  let rows: Row[] = []
  await grid.until('all nodes answer xps', async () => {
    const { status, stdout, stderr } = await grid.exec(`xps --json ${options}`, { node, user })
    if (status !== 0 || stderr.replaceAll(`'${dead}' does not answer`, '').includes('does not answer')) return false
    rows = JSON.parse(stdout) as Row[]
    return true
  })
  return rows
}

/** Starts `sleep` on a node in a session of its own and gives the job's id; the session lives until the test ends it. */
async function sleeper(t: { teardown(work: () => void): void }, node: string, home = 'n1'): Promise<{ id: string; finished: ReturnType<typeof grid.startExec>['finished'] }> {
  const running = grid.startExec(`XOS_NODE=${node} sleep 600 & echo pid=$!; wait $!`, { node: home })
  t.teardown(() => running.kill('SIGTERM'))
  await running.seen(/pid=\d+/)
  let found: Row | undefined
  await grid.until('the job appears', async () => (found = (await jobs(home)).filter((job) => job.name === 'sleep' && job.node === node).at(-1)) !== undefined)
  return { id: found?.id ?? '', finished: running.finished }
}

test.serial('a program started by its name runs where XOS_NODE says, as it would here', async (t) => {
  const program = 'import os, socket, sys; print(socket.gethostname(), os.getcwd(), os.environ["WORD"], oct(os.umask(0)), sys.argv[1:])'
  const { status, stdout, stderr } = await grid.exec(`mkdir -p w && cd w && umask 027 && export WORD='a  b' && XOS_NODE=n2 python3 -c '${program}' 'with blank' $'new\\nline' ''`)
  t.deepEqual({ status, stderr }, { status: 0, stderr: '' })
  t.is(stdout, "n2 /home/alice/w a  b 0o27 ['with blank', 'new\\nline', '']\n")
})

test.serial('exit status and death by signal are those of the program', async (t) => {
  for (const [line, status] of [['XOS_NODE=n2 python3 -c "raise SystemExit(42)"', 42], ['XOS_NODE=n2 python3 -c "import os; os.kill(os.getpid(), 15)"', 143],
    ['XOS_NODE=n3 python3 -c "import os; os.abort()"', 134], ['xrun --node n2 no-such-program', 127], ['xrun --node n9 true', 125]] as const) {
    t.is((await grid.exec(`${line}; echo $?`)).stdout.trim(), `${status}`, line)
  }
})

test.serial('a pipeline over two nodes and home, with redirection', async (t) => {
  const { stdout } = await grid.exec("seq 100000 > numbers; XOS_NODE=n2 gzip -9 < numbers | XOS_NODE=n3 gzip -d | cmp - numbers && echo same")
  t.is(stdout, 'same\n')
})

test.serial('xps shows the job from every node, with name, node, state and figures', async (t) => {
  const { id } = await sleeper(t, 'n2')
  for (const node of ['n1', 'n2', 'n3']) {
    const job = (await jobs(node)).find((each) => each.id === id)
    t.like(job, { name: 'sleep', node: 'n2', home: 'n1', state: 'running', user: 'alice', vo: 'demo', argv: ['sleep', '600'] }, node)
    t.true((job?.memory_bytes ?? 0) > 0)
  }
  t.is((await grid.exec(`xwhere ${id}`, { node: 'n3' })).stdout, 'n2\n')
  t.deepEqual((await jobs('n2', '', { user: 'bob@demo' })).filter((job) => job.id === id), [], 'bob does not see it')
  t.is((await grid.exec('xps --all', { node: 'n2', user: 'bob@demo' })).status, 1)
})

test.serial('xkill from another node ends the job, its proxy and the wait for it; others may not', async (t) => {
  const { id, finished } = await sleeper(t, 'n2')
  const waiting = grid.exec(`xwait ${id}`, { node: 'n3' })
  const refused = await grid.exec(`xkill ${id}`, { node: 'n3', user: 'bob@demo' })
  t.is(refused.status, 1)
  t.regex(refused.stderr, /belongs to alice@demo/)
  t.is((await grid.exec(`xkill -HUP ${id}`, { node: 'n3' })).status, 0)
  t.is((await waiting).status, 129)
  t.is((await finished).status, 129)
  t.like((await jobs('n2', '--ended')).find((job) => job.id === id), { state: 'ended' })
  const again = await grid.exec(`xkill ${id}`, { node: 'n2' })
  t.is(again.status, 1)
  t.regex(again.stderr, /it is over/)
})

test.serial('a stopped job shows as stopped and goes on', async (t) => {
  const { id } = await sleeper(t, 'n2')
  const state = async (): Promise<string | undefined> => (await jobs('n3')).find((job) => job.id === id)?.state
  await grid.exec(`xkill -STOP ${id}`, { node: 'n2' })
  await grid.until('stopped', async () => (await state()) === 'stopped')
  await grid.exec(`xkill -CONT ${id}`, { node: 'n3' })
  await grid.until('running', async () => (await state()) === 'running')
  t.is(await state(), 'running')
})

test.serial('the pid of a proxy is good for xkill, xwait and xwhere on its own node', async (t) => {
  const { stdout } = await grid.exec('XOS_NODE=n3 sleep 600 & until xwhere $! 2>/dev/null; do sleep 0.1; done; xkill $!; xwait $!; echo $?; wait $!; echo $?')
  t.is(stdout, 'n3\n143\n143\n')
})

test.serial('more jobs than this node has CPUs go elsewhere', async (t) => {
  const busy = 'import socket, time; end = time.time() + 3\nwhile time.time() < end: pass\nprint(socket.gethostname())'
  const { stdout } = await grid.exec(`for i in 1 2 3 4 5 6; do python3 -c '${busy}' & sleep 0.2; done; wait`, { timeout_ms: 120_000 })
  const nodes = stdout.trim().split('\n')
  t.is(nodes.length, 6)
  t.true(new Set(nodes).size >= 2, nodes.join(' '))
})

test.serial('unknown jobs and nodes are refused with what to do', async (t) => {
  for (const [line, message] of [['xkill n1-99999', /there is no such job.*xps --ended/], ['xwait n7-1', /no node 'n7' in VO 'demo'.*xnode/], ['xwhere nonsense', /cannot find 'nonsense'/]] as const) {
    const { status, stderr } = await grid.exec(line)
    t.is(status, 1, line)
    t.regex(stderr, message)
  }
})

test.serial('xnode shows every node ready, and the volumes have a home', async (t) => {
  const nodes = JSON.parse((await grid.exec('xnode list --json', { node: 'n2' })).stdout) as { node: string; state: string; eligible: boolean }[]
  t.deepEqual(nodes.map(({ node, state, eligible }) => `${node} ${state} ${eligible}`), ['n1 ready true', 'n2 ready true', 'n3 ready true'])
  t.true((await grid.exec('xvolume list --quiet', { node: 'n3' })).stdout.split('\n').includes('home.alice'))
  const made = await grid.exec('xvolume create data --mode 1777 && echo hello > /grid/demo/data/x')
  t.deepEqual({ status: made.status, stderr: made.stderr }, { status: 0, stderr: '' })
  t.is((await grid.exec('cat /grid/demo/data/x', { node: 'n3', user: 'bob@demo' })).stdout, 'hello\n')
  t.is((await grid.exec('xvolume remove data --force', { user: 'bob@demo' })).status, 1)
  t.is((await grid.exec('xvolume remove data --force')).status, 0)
})

test.serial('xosd may be killed: jobs live on and are known again', async (t) => {
  const { id } = await sleeper(t, 'n2')
  await grid.root('n1', 'kill -9 $(pgrep -f daemon/[m]ain.js)')
  t.like((await jobs('n2')).find((job) => job.id === id), { state: 'running', node: 'n2' })
})

test.serial('a node dies: the proxy says so and ends with 137, xps shows the job lost, xwait gives 137', async (t) => {
  const { id, finished } = await sleeper(t, 'n3')
  const waiting = grid.exec(`xwait ${id}`, { node: 'n2' })
  t.is((await grid.xgrid(['crash', 'n3'])).status, 0)
  const { status, stderr } = await finished
  t.is(status, 137)
  t.regex(stderr, /node 'n3'.* was lost/)
  t.is((await waiting).status, 137)
  t.like((await jobs('n2', '', { dead: 'n3' })).find((job) => job.id === id), { state: 'lost', node: 'n3' })
  await grid.until('the others see that it is silent', async () =>
    (JSON.parse((await grid.exec('xnode list --json')).stdout) as { node: string; state: string }[]).some(({ node, state }) => node === 'n3' && state === 'silent'))
  const refused = await grid.exec('xrun --node n3 true')
  t.is(refused.status, 125)
  t.regex(refused.stderr, /n3/)
})
