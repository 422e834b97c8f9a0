import { XosError } from '../core/errors.ts';
import { parseVoName } from '../core/ids.ts';
import { readSetting, type Policy, type PolicyKey } from './policy.ts';

/** /etc/xos/site.json: what the owner of the node grants. `*` is for every VO; what a VO's own part says goes before it. */
export interface Site {
  readonly policies: Readonly<Record<string, Policy>>;
}

export const no_site: Site = { policies: {} };

/** `{"vo": {"*": {"pids.max": "4096"}, "demo": {"cpu.weight": 900, "memory.max": "8G"}}}`. Throws XOS_CONFIG: a mistake must not open what was meant to be shut. */
export function parseSite(source: string): Site {
  const wrong = (why: string, cause?: unknown): XosError => new XosError('XOS_CONFIG', `cannot use the site's policy: ${why}`, {}, { cause });
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (cause) {
    throw wrong(`it is not JSON: ${(cause as Error).message}`, cause);
  }
  const object = (what: unknown, name: string): Record<string, unknown> => {
    if (typeof what !== 'object' || what === null || Array.isArray(what)) throw wrong(`${name} must be an object`);
    return what as Record<string, unknown>;
  };
  const whole = object(value, 'it');
  for (const key of Object.keys(whole)) if (key !== 'vo') throw wrong(`it has no field '${key}'; it may have vo`);
  const policies: Record<string, Policy> = {};
  for (const [vo, settings] of Object.entries(object(whole['vo'] ?? {}, "'vo'"))) {
    try {
      if (vo !== '*') parseVoName(vo);
      const policy: Partial<Record<PolicyKey, string>> = {};
      for (const [name, text] of Object.entries(object(settings, `'${vo}'`))) {
        const { key, value: read } = readSetting(name, typeof text === 'number' ? String(text) : Array.isArray(text) ? text.join(' ') : text);
        policy[key] = read;
      }
      policies[vo] = policy;
    } catch (cause) {
      throw cause instanceof XosError && cause.code === 'XOS_CONFIG' ? cause : wrong(`VO '${vo.slice(0, 40)}': ${(cause as Error).message}`, cause);
    }
  }
  return { policies };
}

export const sitePolicy = (site: Site, vo: string): Policy => ({
  ...(Object.hasOwn(site.policies, '*') ? site.policies['*'] : {}),
  ...(Object.hasOwn(site.policies, vo) ? site.policies[vo] : {}),
});
