import type { Bench } from '../bench.ts'
import { once } from '../once.ts'
import type { Part } from '../part.ts'
import type { Shell } from '../shell.ts'
import { median } from '../statistics.ts'
import type { Places } from './index.ts'

const files = 40
const pairs = 5

/** 40 small C files in the session's home, compiled two at a time: placed by the grid, and without it. */
export function compile(_bench: Bench, places: Places): Part {
  const prepared = once(async () => {
    const session = await places.session()
    await session.sh(`mkdir -p ~/bench-compile; cd ~/bench-compile; for i in $(seq ${files}); do cat > f$i.c << END
#include <stdio.h>
#include <string.h>
static int total_$i;
int add_$i(const char *text) { total_$i += (int) strlen(text) * $i; return total_$i; }
int main(int argc, char **argv) { for (int i = 0; i < argc; i++) printf("%d %s\\n", add_$i(argv[i]), argv[i]); return 0; }
END
done`)
  })
  const build = async (session: Shell, where: Shell, prefix: string): Promise<number> => {
    await session.sh('cd ~/bench-compile; rm -f *.o')
    const { elapsed_ms } = await where.sh(`cd /home/alice/bench-compile; seq -f f%g.c ${files} | ${prefix} xargs -P2 -n1 gcc -c`, { timeout_ms: 120_000 })
    const { stdout } = await session.sh('ls ~/bench-compile | grep -c "[.]o$"', { mayFail: true })
    if (stdout.trim() !== String(files)) throw new Error(`${stdout.trim()} object files of ${files}`)
    return elapsed_ms
  }
  return {
    measures: [
      { id: 'compile.ours', label: `${files} gcc -c under xargs -P2 in the home, placed by the grid`, unit: 'ms' },
      { id: 'compile.local', label: 'the same, local, outside of a session, in the same directory', unit: 'ms' },
    ],
    bars: [{ label: `${files} gcc -c, against local`, measure: 'compile.ours', against: 'compile.local', atMost: 1.2 }],
    probes: [{
      ids: ['compile.local', 'compile.ours'],
      run: async (round) => {
        await prepared()
        const session = await places.session()
        // Each goes first every other time: who comes second finds the compiler and the headers warm.
        const outside = await places.outside()
        // As alice, but in no session: what a machine without a grid would do.
        const alice = 'setpriv --reuid="$(stat -c %u .)" --regid="$(stat -c %g .)" --clear-groups'
        const local = async (): Promise<number> => build(session, outside, alice)
        const ours = async (): Promise<number> => build(session, session, '')
        if (round === 1) {
          await local()
          await ours()
        }
        // Half a second each: one wake-up of a neighbour decides a single pair.
        const times = { 'compile.ours': [] as number[], 'compile.local': [] as number[] }
        for (let pair = 0; pair < pairs; pair++) {
          const order = [['compile.ours', ours], ['compile.local', local]] as const
          for (const [id, run] of (round + pair) % 2 === 1 ? order : order.toReversed()) times[id].push(await run())
        }
        return { 'compile.ours': median(times['compile.ours']), 'compile.local': median(times['compile.local']) }
      },
    }],
  }
}
