import { XosError, describe } from '../../core/errors.ts';
import type { Disk, Log, Spawn } from '../../core/ports.ts';
import { limits, type AttributeValue } from '../core/index.ts';
import { collectHardware } from './hardware.ts';

export type Attributes = Readonly<Record<string, AttributeValue>>;

const name_pattern = /^[a-z][a-z0-9_.-]*$/;
/** What the overlay says itself; a site cannot say otherwise. */
const reserved = ['roles', 'node', 'vo', 'metrics'];

/** Checks the `attributes` of /etc/xos/node.json. Throws XOS_CONFIG. */
export function parseAttributes(value: unknown): Attributes {
  const wrong = (what: string): XosError => new XosError('XOS_CONFIG', `cannot use the configuration: 'attributes' ${what}`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('must be an object of names and values');
  const entries = Object.entries(value);
  if (entries.length > limits.attributes_max / 2) throw wrong(`has ${entries.length} entries, ${limits.attributes_max / 2} are allowed`);
  for (const [name, each] of entries) {
    if (!name_pattern.test(name) || name.length > limits.attribute_name_bytes_max) throw wrong(`has the name '${name}': small letters, digits and _ . - are allowed, a letter first, at most ${limits.attribute_name_bytes_max}`);
    if (reserved.includes(name) || name.startsWith('overlay.') || name.startsWith('metric.')) throw wrong(`has '${name}', which the node says itself`);
    const texts = Array.isArray(each) ? each : [each];
    if (texts.length > limits.attributes_max) throw wrong(`'${name}' has ${texts.length} members, ${limits.attributes_max} are allowed`);
    for (const one of texts) {
      const good = typeof one === 'string' ? Buffer.byteLength(one) <= limits.attribute_text_bytes_max : !Array.isArray(each) && typeof one === 'number' && Number.isFinite(one);
      if (!good) throw wrong(`'${name}' must be a number, a text of at most ${limits.attribute_text_bytes_max} bytes, or a list of texts`);
    }
  }
  return value as Attributes;
}

/** A descriptor travels wherever a node is named, so it stays small. */
const set_members_max = 16;

const clip = (text: unknown): string => Buffer.from(String(text)).subarray(0, limits.attribute_text_bytes_max).toString('utf8').replace(/[\0\ufffd]/g, '').trim();

/** What the collector printed as attributes; absent ones are left out, since 0 cores is a statement too. Pure. */
export function attributesOf(found: Readonly<Record<string, unknown>>): Attributes {
  const attributes: Record<string, AttributeValue> = {};
  for (const name of ['cores', 'memory', 'disk', 'ghz']) {
    const value = found[name];
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) attributes[name] = value;
  }
  const arch = found['arch'] === 'x64' ? 'x86_64' : found['arch'] === 'arm64' ? 'aarch64' : found['arch'];
  for (const [name, value] of Object.entries({ arch, model: found['model'], os: found['os'], os_version: found['os_version'], kernel: found['kernel'] })) {
    if (typeof value === 'string' && clip(value) !== '') attributes[name] = clip(value);
  }
  const gpus = Array.isArray(found['gpus']) ? found['gpus'].map(clip).filter((text) => text !== '') : [];
  attributes['gpus'] = gpus.length;
  if (gpus.length > 0) attributes['gpu'] = [...new Set(gpus)].slice(0, 8);
  for (const name of ['libraries', 'devices', 'sensors']) {
    const members = Array.isArray(found[name]) ? found[name].map(clip).filter((text) => text !== '') : [];
    if (members.length > 0) attributes[name] = [...new Set(members)].sort().slice(0, set_members_max);
  }
  return attributes;
}

/** Asks systeminformation in a process of its own; without it what /proc says. */
export async function collectAttributes(ports: { spawn: Spawn; disk: Disk; log: Log }, signal: AbortSignal): Promise<Attributes> {
  const program = new URL(import.meta.url.endsWith('.ts') ? './collect.ts' : './collect.js', import.meta.url).pathname;
  const hardware = await collectHardware(ports, signal);
  try {
    const { stdout, exit_code, stderr } = await ports.spawn.run(process.execPath, ['--disable-warning=ExperimentalWarning', program], { signal, timeout_ms: 20_000 });
    if (exit_code !== 0) throw new XosError('XOS_INTERNAL', `the collector ended with ${exit_code}: ${stderr.slice(0, 300)}`);
    return attributesOf({ ...JSON.parse(stdout) as Record<string, unknown>, ...hardware });
  } catch (thrown) {
    signal.throwIfAborted();
    ports.log.warn('systeminformation did not tell what this node is; /proc has to do', { reason: describe(thrown) });
    const [cpuinfo, meminfo] = await Promise.all(['/proc/cpuinfo', '/proc/meminfo'].map(async (path) => String((await ports.disk.read(path)) ?? '')));
    return attributesOf({ cores: cpuinfo!.match(/^processor\s*:/gm)?.length, memory: Number(/^MemTotal: +(\d+)/m.exec(meminfo!)?.[1]) * 1024, arch: process.arch, ...hardware });
  }
}
