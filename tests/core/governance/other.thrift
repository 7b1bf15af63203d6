namespace go mail

service Mailbox {
    i32 count(1: string owner)
}
