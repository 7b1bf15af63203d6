struct Same { 1: i32 right }
service Who { Same who() }
