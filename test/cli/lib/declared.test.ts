// What is declared for programs of other folders against what those programs say of themselves, as far as they are built.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { declaredCommands } from '../../../src/cli/lib/declared.ts';

const native = join(import.meta.dirname, '../../../build/native');
const programs: Readonly<Record<string, string>> = {
  'xrun': 'relay/xexec', 'xlocal': 'relay/xexec', 'xos-relayd': 'relay/xos-relayd', 'xos-osd': 'object/xos-osd', 'xos-mrc': 'metadata/xos-mrc', 'xos-mount': 'mount/xos-mount',
};

for (const [name, path] of Object.entries(programs)) {
  test(`the options of ${name} are those that it tells`, (t) => {
    const program = join(native, path);
    if (!existsSync(program)) return t.pass(`skipped: ${path} is not built`);
    const { stdout, error, status, stderr } = spawnSync(program, ['--help'], { argv0: name, encoding: 'utf8', timeout: 10_000 });
    if (error !== undefined || stderr.includes('GLIBC')) return t.pass(`skipped: ${path} cannot run on this machine`);
    t.is(status, 0, stderr);
    const told = [...new Set([...(stdout.split('\n')[0] ?? '').matchAll(/--([a-z-]+)/g)].map((match) => match[1]))].sort();
    t.deepEqual(Object.keys(declaredCommands.find((command) => command.name === name)?.options ?? {}).sort(), told);
  });
}
