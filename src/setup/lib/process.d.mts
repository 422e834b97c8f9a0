export interface ProcessIdentity { readonly pid: number; readonly start: number }
export declare function startTime(pid: number): number | null
export declare function identify(pid: number): ProcessIdentity | null
export declare function isAlive(process: ProcessIdentity | null | undefined): boolean
