import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import type { Grid } from '../grid.ts'
import { once } from '../once.ts'
import { type Part, field, probe, topicOf } from '../part.ts'
import type { Topic } from '../topic.ts'

const program = readFileSync(new URL('../programs/login.py', import.meta.url))
const password = 'quiet-Lamp-58-river'
/** Of a look-up while xosd is stopped: the process that asks is part of it. */
const looking = `import json, subprocess, time
def look():
    began = time.perf_counter()
    subprocess.run(['getent', 'passwd', 'bench@demo'], check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - began)
times = sorted(look() for _ in range(40))
print(json.dumps({'p95_ms': times[37]}))`
/** The verifier's hash alone, as src/vo/password.ts has it. */
const hashing = "const { hashPassword } = require('/usr/lib/xos/lib/peer.node'); (async () => { const times = []; for (let i = 0; i < 25; i++) { const began = performance.now(); await hashPassword('x', '$y$j9T$......................'); times.push(performance.now() - began) } times.sort((x, y) => x - y); console.log(JSON.stringify({ p50_ms: times[12] })) })()"

export async function loginTopic(bench: Bench): Promise<Topic> {
  const ready = once(async () => prepare(await bench.grid()))
  return topicOf('login', [logins(bench, ready), names(ready), revocation(ready)])
}

/** A member, a local user with the same password (yescrypt, Debian's default), and a service for it; on n1. */
async function prepare(grid: Grid): Promise<Grid> {
  await grid.root('n1', 'cat > /usr/local/bin/bench-login', { input: program })
  await grid.root('n1', `read -r word; echo "$word" | xvo member add demo bench --password-stdin 2>/dev/null || echo "$word" | xvo member passwd demo bench --password-stdin; id bench-local 2>/dev/null || useradd -M bench-local; echo 'bench-local:${password}' | chpasswd
    printf 'auth required pam_unix.so\\naccount required pam_unix.so\\n' > /etc/pam.d/bench-unix`, { input: `${password}\n` })
  return grid
}

function logins(bench: Bench, ready: () => Promise<Grid>): Part {
  const timed = async (service: string, user: string, path: string): Promise<number> => {
    const grid = await ready()
    return field({ sh: async (script) => ({ ...await grid.root('n1', script, { input: `${password}\n` }), elapsed_ms: 0 }) }, `python3 /usr/local/bin/bench-login ${service} ${user} ${bench.count(40, 10)}`, path)
  }
  return {
    measures: [
      { id: 'login.xos', label: "PAM auth and account of a member, p95 ('xgrid')", unit: 'ms' },
      { id: 'login.unix', label: 'the same of a local user, pam_unix with yescrypt, p95', unit: 'ms' },
      { id: 'login.hash', label: "of that, the CDA's hash alone (yescrypt, median)", unit: 'ms' },
    ],
    bars: [
      { label: 'PAM auth and account in ms, the hash included', measure: 'login.xos', against: 1, atMost: 20 },
      { label: 'against a local yescrypt login', measure: 'login.xos', against: 'login.unix', atMost: 1.1 },
    ],
    probes: [
      probe('login.xos', () => timed('xgrid', 'bench@demo', 'p95_ms')),
      probe('login.unix', () => timed('bench-unix', 'bench-local', 'p95_ms')),
      probe('login.hash', async () => {
        const grid = await ready()
        return field({ sh: async (script) => ({ ...await grid.root('n1', script), elapsed_ms: 0 }) }, `/usr/lib/xos/bin/node -e '${hashing.replaceAll("'", "'\\''")}'`, 'p50_ms')
      }),
    ],
  }
}

function names(ready: () => Promise<Grid>): Part {
  return {
    measures: [{ id: 'names.hung', label: 'getent passwd of a member with xosd stopped, p95', unit: 'ms' }],
    bars: [{ label: 'look-up with the agent hung, in ms', measure: 'names.hung', against: 1, atMost: 500 }],
    probes: [
      probe('names.hung', async () => {
        const grid = await ready()
        const daemon = '/dist/src/daemon/[m]ain.js'
        await grid.root('n2', `pkill -STOP -f '${daemon}'`)
        try {
          return await field({ sh: async (script) => ({ ...await grid.root('n2', script, { input: looking }), elapsed_ms: 0 }) }, 'python3 -', 'p95_ms')
        } finally {
          await grid.root('n2', `pkill -CONT -f '${daemon}'`, { mayFail: true })
        }
      }),
    ],
  }
}

/** From the admin's command to the last process of the member on another node. */
function revocation(ready: () => Promise<Grid>): Part {
  let made = 0
  return {
    measures: [{ id: 'revoked', label: "'xvo member revoke' on n1 until no process of the member is left on n2", unit: 's' }],
    bars: [{ label: 'revocation to session end, in s', measure: 'revoked', against: 1, atMost: 10 }],
    probes: [
      probe('revoked', async () => {
        const grid = await ready()
        const user = `bench${process.pid}x${++made}`
        await grid.root('n1', `xvo member add demo ${user} --password-stdin`, { input: `${password}\n` })
        const running = grid.root('n2', `xenter --password-fd 0 ${user}@demo -- sleep 1000`, { input: `${password}\n`, mayFail: true, env: { PATH: '/usr/lib/xos/bin:/usr/bin:/bin' } })
        while ((await grid.root('n2', `pgrep -u ${user}@demo sleep`, { mayFail: true })).status !== 0) await sleep(100)
        const began = performance.now()
        await grid.root('n1', `xvo member revoke demo ${user}`)
        while ((await grid.root('n2', `pgrep -u ${user}@demo`, { mayFail: true })).status === 0) await sleep(50)
        const took_s = (performance.now() - began) / 1000
        await running
        return took_s
      }),
    ],
  }
}
