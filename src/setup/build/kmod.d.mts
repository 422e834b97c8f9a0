export declare function moduleNames(): string[]
export declare function buildModule(tools: string, name: string, options: { log: string; signal?: AbortSignal }): Promise<string>
export declare function buildModules(tools: string, options: { log: string; signal?: AbortSignal }): Promise<string[]>
export declare function kernelModule(layers: { readonly tools: string }, name: string): Promise<string>
export declare function kernelSelftest(layers: { readonly tools: string }, name: string, program: string): Promise<string>
