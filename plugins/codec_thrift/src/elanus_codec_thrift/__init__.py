"""Thrift IDL files and the Thrift binary codec for elanus.

Found through the entry point of :mod:`elanus_codec_thrift.hooks`; the codec is
:class:`elanus_codec_thrift.codec.ThriftCodec`. Importing this package imports nothing else.
"""
