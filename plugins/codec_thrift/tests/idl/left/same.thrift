struct Same { 1: string left }
service Who { Same who() }
