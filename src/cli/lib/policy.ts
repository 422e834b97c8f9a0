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
  const { rule, placement, why } = await applyPolicies({ path: program, real, vo: env['XOS_VO'] ?? '', owner: (await stat(real)).uid, caller: process.geteuid?.() ?? 0 }, env['HOME']);
  if (placement === 'local') return decide('local', null, why);
  if (cwd !== '/' && !isShared(`${cwd}/`)) return decide('local', null, `the working directory ${cwd} is not in a place that all nodes share`);
  const asked = env['XOS_NODE'];
  if (asked !== undefined && asked !== '') return decide('grid', asked, 'XOS_NODE asks for it');
  if (rule?.node !== undefined) return decide('grid', rule.node, `the policy line '${rule.line}' asks for it`);
  return decide('grid', null, why);
}

export interface Rule {
  readonly line: string;
  readonly placement: 'local' | 'grid' | 'auto';
  readonly cost?: Cost;
  readonly node?: string;
}

const costs = ['low', 'normal', 'high'] as const;
export type Cost = typeof costs[number];

/** What a program is, as far as policies ask: its paths, the VO of the session, the file's owner and who runs it. */
export interface Subject { readonly path: string; readonly real: string; readonly vo: string; readonly owner: number; readonly caller: number }

export interface Policy {
  /** The last line that fits; null when none does. */
  readonly rule: Rule | null;
  readonly fallback: 'local' | 'grid';
  /** The cost class from which programs leave. */
  readonly leave: Cost;
}

const noPolicy: Policy = { rule: null, fallback: 'grid', leave: 'normal' };

/** Reads lines of a policy (xos-policy(5)) after those that gave `before`; native/relay/src/policy.cc reads them alike. */
export function readPolicy(text: string, subject: Subject, before: Policy = noPolicy): Policy {
  let policy = before;
  let section = '';
  for (const line of text.split('\n')) {
    const [first = '', second = '', ...rest] = line.trim().split(/[ \t\r]+/);
    if (first === 'vo') section = second === '*' ? '' : second;
    if (first === 'vo' || (section !== '' && section !== subject.vo)) continue;
    const comment = rest.findIndex((option) => option.startsWith('#'));
    const options = rest.slice(0, comment < 0 ? undefined : comment);
    const value = (key: string): string | undefined => options.findLast((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
    if (first === 'default' && (second === 'local' || second === 'grid')) policy = { ...policy, fallback: second, leave: costOf(value('leave')) ?? policy.leave };
    if (!first.startsWith('/') || (second !== 'local' && second !== 'grid' && second !== 'auto')) continue;
    const pattern = globPattern(first);
    if (!ownerFits(value('owner'), subject) || (!pattern.test(subject.path) && !pattern.test(subject.real))) continue;
    const [node, cost] = [value('node'), costOf(value('cost'))];
    policy = { ...policy, rule: { line: line.trim(), placement: second, ...(cost === null ? {} : { cost }), ...(node === undefined || node === '' ? {} : { node }) } };
  }
  return policy;
}

/** The last line of a policy that matches one of the two paths; null when none does. */
export function matchPolicy(text: string, path: string, real: string): Rule | null {
  return readPolicy(text, { path, real, vo: '', owner: 0, caller: 0 }).rule;
}

const costOf = (word: string | undefined): Cost | null => costs.find((cost) => cost === word) ?? null;

function ownerFits(wanted: string | undefined, subject: Subject): boolean {
  if (wanted === undefined) return true;
  if (wanted === 'self') return subject.owner === subject.caller;
  return (wanted === 'root' ? '0' : wanted) === String(subject.owner);
}

/** `*` and `?` stay within a folder, `**` does not; there is nothing else. */
function globPattern(glob: string): RegExp {
  const source = glob.replace(/\*\*|[*?]|[^*?]+/g, (piece) =>
    piece === '**' ? '.*' : piece === '*' ? '[^/]*' : piece === '?' ? '[^/]' : piece.replace(/[.+^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${source}$`, 's');
}

/** The file's own wish is an extended attribute, which Node cannot read without a program; xexec and the kernel do. */
async function applyPolicies(subject: Subject, home: string | undefined): Promise<{ readonly rule: Rule | null; readonly placement: 'local' | 'grid'; readonly why: string }> {
  const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');
  const user = home?.startsWith('/') ? await read(join(home, '.config/xos/policy')) : '';
  const { rule, fallback, leave } = readPolicy(user, subject, readPolicy(await read(systemPolicy), subject));
  if (rule !== null && rule.placement !== 'auto') return { rule, placement: rule.placement, why: `the policy line '${rule.line}' ${rule.placement === 'local' ? 'says so' : 'lets it go'}` };
  if (rule?.cost !== undefined) {
    const placement = costs.indexOf(rule.cost) >= costs.indexOf(leave) ? 'grid' : 'local';
    return { rule, placement, why: `the policy line '${rule.line}' gives its cost class, and programs leave from '${leave}' on` };
  }
  return { rule, placement: fallback, why: fallback === 'grid' ? 'no policy keeps it here' : 'the default of the policy keeps it here' };
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
