// Types that all steps of a build share.

/**
 * @typedef {{flavour: import('./flavour.mjs').Flavour, identity: import('./identity.mjs').Identity, kernel: {version: string, modules: string, inside: string},
 *   tools: string, work: string, output: string, note?: (text: string) => void,
 *   tool: (command: readonly string[], options?: {binds?: readonly string[], environment?: Record<string, string>, onLine?: (line: string) => void, what?: string, timeout_ms?: number}) => Promise<string>}} Context
 * `work`: scratch folder; `output`: where finished images go; `tool`: runs a command in the tools root, standard output comes back
 *
 * @typedef {{root: {path: string, blocks: number, hash: string, salt: string, uuid: string}, initrd: string, line: string, uki: string, linux: string, base: string, programs: readonly string[],
 *   keys: {updateKey: string, updatePublic: string, bootKey: string, bootCertificate: string}}} Made
 * what outputs are made of
 */
export {}
