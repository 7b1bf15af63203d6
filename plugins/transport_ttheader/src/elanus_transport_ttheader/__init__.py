"""Buffered, framed and TTHeader Thrift (and Kitex protobuf) for elanus, as Kitex speaks them."""
