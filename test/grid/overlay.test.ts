// n1 (registry) | n2 | n3: queries, topics and placement by the overlay, between real nodes.
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 3, users: ['bob'] })

interface Found { readonly node: string; readonly attributes: Record<string, unknown> }
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '').sort()

test.serial('every node finds all nodes by what they are', async (t) => {
  t.timeout(180_000)
  for (const node of ['n1', 'n2', 'n3']) {
    await grid.until(`${node} finds three nodes`, async () => lines((await grid.exec(['xquery', '-q', 'cores >= 1, arch = x86_64'], { node })).stdout).join() === 'n1,n2,n3')
  }
  t.deepEqual(lines((await grid.exec(['xquery', '-q', 'roles has registry'], { node: 'n3' })).stdout), ['n1'])
  t.is(lines((await grid.exec(['xquery', '-q', '-n', '2', 'memory > 1MiB'])).stdout).length, 2)
  const found = JSON.parse((await grid.exec(['xquery', '--json', 'node = n2'])).stdout) as Found[]
  t.is(found[0]?.node, 'n2')
  t.regex(String(found[0]?.attributes['os']), /Debian/)
})

test.serial('what changes from second to second is asked of the nodes', async (t) => {
  const found = JSON.parse((await grid.exec(['xquery', '--json', 'load >= 0, memory_free > 1MiB'])).stdout) as Found[]
  t.deepEqual(found.map(({ node }) => node).sort(), ['n1', 'n2', 'n3'])
  for (const { attributes } of found) t.is(typeof attributes['load'], 'number')
  t.is((await grid.exec(['xquery', '-q', 'running > 100000'])).status, 1)
})

for (const [query, words] of [['corse >= 1', /no node that this one knows has an attribute 'corse'; there are arch, cores/], ['cores >= ', /at character 10: a number is expected/], ['memory in 2GiB..1GiB', /ends before it begins/]] as const) {
  test.serial(`a query that cannot be: ${query}`, async (t) => {
    const { status, stderr } = await grid.exec(['xquery', query])
    t.is(status, 1)
    t.regex(stderr, words)
  })
}

test.serial('xrun --where goes to a node that fits, and nowhere when none does', async (t) => {
  t.is((await grid.exec(`xrun --where 'node = n3' hostname`)).stdout, 'n3\n')
  t.is((await grid.exec(`xrun '--where=cores >= 1, roles has registry' hostname`, { node: 'n2' })).stdout, 'n1\n')
  const none = await grid.exec(`xrun --where 'cores > 100000' hostname`)
  t.is(none.status, 125)
  t.regex(none.stderr, /no node fits 'cores > 100000'/)
  t.is((await grid.exec(`xrun --where 'cores >' hostname`)).status, 125)
})

test.serial('attributes and metrics that a node is given while it runs are found from every other one', async (t) => {
  t.is((await grid.root('n2', 'xnode describe rack=42')).status, 0)
  for (const node of ['n1', 'n3']) await grid.until(`${node} finds the rack`, async () => (await grid.exec(['xquery', '-q', 'rack = 42'], { node })).stdout === 'n2\n')
  t.is((await grid.exec('xrun --where "rack = 42" hostname')).stdout, 'n2\n')
  t.is((await grid.exec('xrun --node n3 xnode describe metric.queue=3')).status, 0)
  t.is((await grid.exec('xrun --node n2 xnode describe metric.queue=30', { user: 'bob@demo' })).status, 0)
  await grid.until('n1 finds the shorter queue', async () => (await grid.exec(['xquery', '-q', 'metric.queue < 20'])).stdout === 'n3\n')
  t.is((await grid.exec('xrun --where "metric.queue >= 20" hostname')).stdout, 'n2\n')
  const denied = await grid.exec('xnode describe rack=1')
  t.not(denied.status, 0)
  t.regex(denied.stderr, /they are its administrator's to say/)
})

test.serial('a shape is started as a whole: every member gets its position and its neighbours', async (t) => {
  t.timeout(120_000)
  const worker = `for i in $(seq 100); do [ $(wc -l < $XOS_NEIGHBOURS) = 2 ] && break; sleep 0.2; done; echo $XOS_POSITION $(hostname) $(cut -d" " -f1 $XOS_NEIGHBOURS | tr "\\n" " ")`
  const { stdout, status, stderr } = await grid.exec(['xshape', '-s', 'ring', '-n', '3', 'whole', '--', 'sh', '-c', worker], { timeout_ms: 90_000 })
  t.is(status, 0, stderr)
  const members = lines(stdout).map((line) => line.split(' '))
  t.deepEqual(members.map(([position, , ...neighbours]) => [position, ...neighbours.filter((each) => each !== '')]), [['0', '1', '2'], ['1', '0', '2'], ['2', '0', '1']])
  t.deepEqual(members.map(([, node]) => node).sort(), ['n1', 'n2', 'n3'])
  t.is((await grid.exec(['xshape', '-s', 'ring', '-n', '3', 'ends', '--', 'sh', '-c', 'exit $((XOS_POSITION == 1 ? 7 : 0))'])).status, 7)
})

test.serial('what a user publishes on one node another user reads on another one', async (t) => {
  const reader = grid.startExec(`xsubscribe demo/app/# --filter 'number >= 2' -n 2 --json & xlocal sleep 2; echo READY; wait`, { node: 'n3', user: 'bob@demo' })
  await reader.seen(/READY/)
  for (const number of [1, 2, 3]) t.is((await grid.exec(['xpublish', 'demo/app/test', JSON.stringify({ number })], { node: 'n2' })).status, 0)
  const { stdout } = await reader.finished
  const messages = lines(stdout.replace('READY\n', '')).map((line) => JSON.parse(line) as { node: string; user: string; text: string; topic: string })
  t.deepEqual(messages.map(({ node, user, text, topic }) => ({ node, user, text, topic })), [2, 3].map((number) => ({ node: 'n2', user: 'alice', text: JSON.stringify({ number }), topic: 'demo/app/test' })))
})

test.serial('who may not publish or subscribe is told why', async (t) => {
  const said = async (argv: string[]): Promise<string> => (await grid.exec(argv, { user: 'bob@demo' })).stderr
  t.regex(await said(['xpublish', 'demo/vo/membership', 'x']), /only nodes may publish/)
  t.regex(await said(['xpublish', 'demo/+/x', 'x']), /published on one topic/)
  t.regex(await said(['xpublish', 'other/app/x', 'x']), /belongs to VO 'demo'/)
  t.regex(await said(['xsubscribe', 'demo/vo/#']), /may subscribe/)
  t.regex(await said(['xsubscribe', 'demo/#/x']), /only be the last level/)
  t.regex(await said(['xsubscribe', 'demo/app/x', '-f', 'a >']), /at character 4/)
})

test.serial('a user hears of the own jobs, on whichever node, and of no others', async (t) => {
  const reader = grid.startExec(`xsubscribe 'demo/jobs/+/state' --filter 'state = ended and exit_code in 4..5' -n 1 --json & xlocal sleep 2; echo READY; wait`, { node: 'n2', user: 'bob@demo' })
  await reader.seen(/READY/)
  await grid.exec('xrun --node n3 sh -c "exit 4"')
  await grid.exec('xrun --node n3 sh -c "exit 5"', { user: 'bob@demo' })
  const { stdout } = await reader.finished
  const told = JSON.parse((JSON.parse(stdout.replace('READY\n', '')) as { text: string }).text) as { user: string; exit_code: number; node: string }
  t.like(told, { user: 'bob', exit_code: 5, node: 'n3' })
})

test.serial('a subscriber that kept its place gets what came while its node was cut off, and no message twice', async (t) => {
  t.timeout(180_000)
  const subscribe = (count: number): string => `cd; xsubscribe demo/app/away -n ${count} -k ~/place`
  const first = grid.startExec(`${subscribe(1)} & xlocal sleep 2; echo READY; wait`, { node: 'n3' })
  await first.seen(/READY/)
  await grid.exec('xpublish demo/app/away one')
  await first.finished
  await grid.xgrid(['cut', 'n3'])
  for (const text of ['two', 'three']) t.is((await grid.exec(`xpublish demo/app/away ${text}`)).status, 0)
  await grid.xgrid(['heal', 'n3'])
  await grid.until('the grid is whole', async () => (await grid.status()).state === 'up')
  t.deepEqual((await grid.exec(subscribe(2), { node: 'n3', timeout_ms: 120_000 })).stdout, 'demo/app/away two\ndemo/app/away three\n')
})
