import { constants } from 'node:fs';
import { access, open, readFile, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { XosError } from '../../core/errors.ts';

/**
 * Explains what `xexec` would do with a typed command (native/relay/src/proxy/program.cc decides; this reads the same marks and the
 * same policy in the same order).
 */
export interface Decision {
  readonly placement: 'local' | 'grid';
  /** The file that would be run. */
  readonly program: string;
  /** A node that XOS_NODE or the policy asks for; null when the scheduler chooses. */
  readonly node: string | null;
  readonly why: string;
}

/** The trees that every node of a VO has alike; a program elsewhere cannot be found on another node. */
const sharedTrees = ['/home/', '/grid/', '/usr/', '/opt/', '/bin/', '/sbin/', '/lib/', '/lib64/', '/etc/'];
/** Byte 9 of an ELF header, in its padding, is `x` in files that always stay local. */
const [markOffset, mark] = [9, 0x78];
const systemPolicy = '/run/xos/policy';

/**
 * @param name the command as typed; looked up in PATH when it has no slash
 * @throws XosError XOS_NO_COMMAND when there is no such program
 */
export async function classify(name: string, env: Readonly<Record<string, string | undefined>>, cwd: string): Promise<Decision> {
  const path = await findProgram(name, env['PATH'] ?? '/usr/bin:/bin', cwd);
  const script = await interpreterOf(path);
  const program = script ?? path;
  const by = script === null ? '' : `${path} is a script of ${script}; `;
  const real = await realpath(program);
  const decide = (placement: 'local' | 'grid', node: string | null, why: string): Decision => ({ placement, program, node, why: by + why });
  if (await isMarked(real)) return decide('local', null, `${program} is marked as local: it is cheap, or works on this node's own state`);
  const local = env['XOS_LOCAL'];
  if (local !== undefined && local !== '' && local !== '0') return decide('local', null, 'XOS_LOCAL is set');
  if (!isShared(real)) return decide('local', null, `${real} is not in a place that all nodes share`);
  const rule = await applyPolicies(program, real, env['HOME']);
  if (rule?.placement === 'local') return decide('local', null, `the policy line '${rule.line}' says so`);
  if (cwd !== '/' && !isShared(`${cwd}/`)) return decide('local', null, `the working directory ${cwd} is not in a place that all nodes share`);
  const asked = env['XOS_NODE'];
  if (asked !== undefined && asked !== '') return decide('grid', asked, 'XOS_NODE asks for it');
  if (rule?.node !== undefined) return decide('grid', rule.node, `the policy line '${rule.line}' asks for it`);
  return decide('grid', null, rule === null ? 'no policy keeps it here' : `the policy line '${rule.line}' lets it go`);
}

export interface Rule {
  readonly line: string;
  readonly placement: 'local' | 'grid';
  readonly node?: string;
}

/** The last line of a policy that matches one of the two paths (xos-policy(5)); null when none does. */
export function matchPolicy(text: string, path: string, real: string): Rule | null {
  let found: Rule | null = null;
  for (const line of text.split('\n')) {
    const [glob = '', placement, ...options] = line.trim().split(/[ \t\r]+/);
    if (!glob.startsWith('/') || (placement !== 'local' && placement !== 'grid')) continue;
    const pattern = globPattern(glob);
    if (!pattern.test(path) && !pattern.test(real)) continue;
    const comment = options.findIndex((option) => option.startsWith('#'));
    const node = options.slice(0, comment < 0 ? undefined : comment).findLast((option) => option.startsWith('node='))?.slice(5);
    found = { line: line.trim(), placement, ...(node === undefined || node === '' ? {} : { node }) };
  }
  return found;
}

/** `*` and `?` stay within a folder, `**` does not; there is nothing else. */
function globPattern(glob: string): RegExp {
  const source = glob.replace(/\*\*|[*?]|[^*?]+/g, (piece) =>
    piece === '**' ? '.*' : piece === '*' ? '[^/]*' : piece === '?' ? '[^/]' : piece.replace(/[.+^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${source}$`, 's');
}

async function applyPolicies(path: string, real: string, home: string | undefined): Promise<Rule | null> {
  const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');
  const user = home?.startsWith('/') ? await read(join(home, '.config/xos/policy')) : '';
  return matchPolicy(user, path, real) ?? matchPolicy(await read(systemPolicy), path, real);
}

const isShared = (path: string): boolean => sharedTrees.some((tree) => path.startsWith(tree));

async function findProgram(name: string, path: string, cwd: string): Promise<string> {
  const candidates = name.includes('/') ? [isAbsolute(name) ? name : resolve(cwd, name)] : path.split(':').map((folder) => resolve(cwd, folder, name));
  for (const candidate of candidates) {
    const usable = await access(candidate, constants.X_OK).then(async () => (await stat(candidate)).isFile(), () => false);
    if (usable) return candidate;
  }
  throw new XosError('XOS_NO_COMMAND', `cannot tell where '${name}' would run: there is no such program in PATH (a built-in of the shell always runs here)`, { name });
}

async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path, 'r').catch(() => null);
  if (file === null) return Buffer.alloc(0);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function interpreterOf(path: string): Promise<string | null> {
  const head = (await firstBytes(path)).toString('latin1');
  return /^#![ \t]*(\/[^\s]+)/.exec(head)?.[1] ?? null;
}

async function isMarked(path: string): Promise<boolean> {
  const head = await firstBytes(path);
  return head.subarray(1, 4).toString() === 'ELF' && head[markOffset] === mark;
}
