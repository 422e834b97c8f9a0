export interface Holder { readonly pid: number; readonly start: number; readonly what: string }
export type Lock = { release(): void } | { holder: Holder }
export declare function tryLock(path: string, what: string): Lock
export declare function waitLock(path: string, what: string,
  options: { timeout_ms: number; onWait?: (holder: Holder) => void; signal?: AbortSignal }): Promise<Lock>
