export declare function makePackages(root: string, options: { log: string, signal?: AbortSignal, version?: string, out?: string, note?: (text: string) => void }): Promise<{ made: string[], files: string[] }>
export declare function planPackages(fill: (text: string) => string): { pack: { name: string }, files: Map<string, string>, file: string, inputs: string }[]
