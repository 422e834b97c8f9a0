import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { allCommands } from '../../../src/cli/lib/catalogue.ts';
import { generated } from '../../../src/cli/lib/generate.ts';
import { optionWord } from '../../../src/cli/lib/help.ts';
import { capture } from './capture.ts';

const root = join(import.meta.dirname, '../../..');

test('manual pages and completion are in step with the declarations', async (t) => {
  const files = await generated();
  for (const [path, content] of files) {
    t.is(existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : 'missing', content, `${path}: run node src/cli/lib/generate.ts`);
  }
  t.deepEqual(readdirSync(join(root, 'docs/man')).sort(), [...files.keys()].filter((path) => path.startsWith('docs/man/')).map((path) => path.slice(9)).sort());
});

test('every reference to a page of ours leads to one', async (t) => {
  const files = await generated();
  const dangling = [...files].flatMap(([path, content]) => [...content.matchAll(/^\.Xr (x[a-z-]+) (\d)/gm)]
    .filter(([, name, section]) => !files.has(`docs/man/${name}.${section}`)).map(([, name, section]) => `${path}: ${name}(${section})`));
  t.deepEqual(dangling, []);
});

test('every page tells every option and ends with an exit status or a reference', async (t) => {
  const files = await generated();
  for (const command of await allCommands()) {
    const page = files.get(`docs/man/${command.name}.${command.section ?? 1}`) ?? '';
    for (const name of Object.keys(command.options)) t.true(page.includes(`Fl -${name.replaceAll('-', '\\-')}`), `${command.name} --${name}`);
    t.regex(page, /^\.Sh (?:EXIT STATUS|SEE ALSO)$/m, command.name);
  }
});

test('groff reads every page without a warning', async (t) => {
  if (spawnSync('groff', ['--version']).status !== 0) return t.log('skipped: groff is not installed');
  for (const [path, content] of await generated()) {
    if (!path.startsWith('docs/man/')) continue;
    const { stderr } = spawnSync('groff', ['-mandoc', '-ww', '-z'], { input: content, encoding: 'utf8' });
    t.is(stderr, '', path);
  }
});

test('--help of every command shows each option', async (t) => {
  for (const command of await allCommands()) {
    const { status, out } = await capture(command, ['--help']);
    t.is(status, 0, command.name);
    for (const [name, spec] of Object.entries(command.options)) t.true(out.includes(optionWord(name, spec)), `${command.name} --${name}`);
  }
});

const complete = (line: string): readonly string[] => {
  const words = line.split(' ');
  const script = `source src/cli/completion/xos; compopt() { :; }; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
    _xos_${words[0]}; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['--norc', '-c', script], { cwd: root, encoding: 'utf8' }).trim().split('\n');
};

test('bash completes options, words and subcommands', (t) => {
  t.deepEqual(complete('xps --e'), ['--ended']);
  t.deepEqual(complete('xnode '), ['--help', '--version', 'list', 'status', 'limits', 'describe', 'overlay', 'join', 'found', 'leave', 'setup']);
  t.deepEqual(complete('xnode list --q'), ['--quiet']);
  t.deepEqual(complete('xvolume create v --placement l'), ['local']);
  t.true(complete('xkill --signal SIGK').includes('SIGKILL'));
  t.true(complete('xrun tes').includes('test'));
});
