// n1: registry, DIR, MRC, OSD; n2 and n3: OSD. Daemons are killed; what they must know comes back to them from the DIR.
import test from 'ava'
import { gridFor } from './support/grid.ts'

const grid = gridFor(test, { nodes: 3 })

interface Shown { readonly volume: { readonly volume: string }; readonly servers: { readonly mrc: { readonly node: string; readonly up: boolean } | null; readonly osds: readonly { readonly osd: string; readonly up: boolean; readonly free_bytes: number; readonly total_bytes: number }[] } }

const shown = async (node = 'n2'): Promise<Shown> => JSON.parse((await grid.exec('xvolume show home.alice --json', { node })).stdout) as Shown
const ready = async (): Promise<boolean> => {
  const { status, stdout } = await grid.exec('xnode list --json', { node: 'n3' })
  return status === 0 && (JSON.parse(stdout) as { state: string }[]).every(({ state }) => state === 'ready')
}

test.serial('the DIR knows all servers, with their space', async (t) => {
  await grid.until('all OSDs are up', async () => (await shown()).servers.osds.filter(({ up }) => up).length === 3)
  const { volume, servers } = await shown()
  t.is(volume.volume, 'home.alice')
  t.like(servers.mrc, { node: 'n1', up: true })
  t.true(servers.osds.every(({ free_bytes, total_bytes }) => free_bytes > 0 && free_bytes <= total_bytes))
})

test.serial('data that is spread over the nodes is read everywhere, also after each daemon was killed', async (t) => {
  t.is((await grid.exec('xvolume create wide --placement spread --width 3 --stripe-size 64K')).status, 0)
  await grid.exec('head -c 5M /dev/urandom > /grid/demo/wide/data; sha256sum < /grid/demo/wide/data > sum')
  for (const [node, daemon] of [['n2', 'xos-osd'], ['n1', 'xos-osd'], ['n1', 'xos-mrc'], ['n3', 'xos-mount'], ['n1', 'xosd']] as const) {
    const kill = daemon === 'xosd' ? 'kill -9 $(pgrep -f daemon/[m]ain.js)' : `kill -9 $(pidof ${daemon})`
    t.is((await grid.root(node, kill)).status, 0, daemon)
    await grid.until(`ready after ${daemon} of ${node} was killed`, ready)
    // While the registry is away a login is one to its node only, and says so.
    if (daemon === 'xosd') await grid.until('logins are to the grid again', async () => (await grid.exec('true', { node: 'n3' })).stderr === '')
    const read = await grid.exec('sha256sum < /grid/demo/wide/data | cmp - sum && echo same', { node: 'n3' })
    t.deepEqual({ stdout: read.stdout, stderr: read.stderr }, { stdout: 'same\n', stderr: '' }, `${daemon} of ${node}`)
    t.is((await grid.exec(`echo ${daemon} > /grid/demo/wide/${daemon}.${node} && cat /grid/demo/wide/${daemon}.${node}`, { node: 'n2' })).stdout, `${daemon}\n`)
  }
  t.is((await grid.exec('xvolume remove wide --force')).status, 0)
})

test.serial('an OSD whose node dies is down for all, and up again when it is back', async (t) => {
  t.is((await grid.xgrid(['crash', 'n3'])).status, 0)
  const up = async (): Promise<string> => (await shown()).servers.osds.filter((each) => each.up).map(({ osd }) => osd).join(' ')
  await grid.until('n3 is down', async () => (await up()) === 'n1 n2')
  t.is((await grid.exec('echo still > works && cat works', { node: 'n2' })).stdout, 'still\n')
  t.is((await grid.xgrid(['up', '--detach'], { timeout_ms: 120_000 })).status, 0)
  await grid.until('n3 is up again', async () => (await up()) === 'n1 n2 n3')
  t.is((await grid.exec('cat works', { node: 'n3' })).stdout, 'still\n')
})
