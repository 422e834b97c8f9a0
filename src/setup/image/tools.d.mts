export interface ToolOptions { log?: string; signal?: AbortSignal; timeout_ms?: number; onLine?: (line: string) => void; binds?: readonly string[] }
export interface Kernel { readonly version: string; readonly image: string; readonly modules: string; readonly headers: string }
export declare function toolsRoot(): { readonly path: string; readonly ready: boolean }
export declare function ensureToolsRoot(options: { log: string; signal?: AbortSignal; note?: (text: string) => void }): Promise<string>
export declare function toolsCommand(root: string, command: readonly string[], binds?: readonly string[]): string[]
export declare function runTool(root: string, command: readonly string[], options: ToolOptions): Promise<string>
export declare function toolsKernel(root: string): Kernel
