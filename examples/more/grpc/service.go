package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// service is what protoc-gen-go-grpc would make of a .proto file with these three calls.
var service = grpc.ServiceDesc{
	ServiceName: "example.Notes",
	HandlerType: (*server)(nil),
	Methods: []grpc.MethodDesc{
		method("Login", server.Login),
		method("Logout", server.Logout),
		method("Add", server.Add),
	},
}

type server interface {
	Login(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error)
	Logout(context.Context, *emptypb.Empty) (*emptypb.Empty, error)
	Add(context.Context, *wrapperspb.StringValue) (*wrapperspb.Int64Value, error)
}

func method[In, Out any](name string, call func(server, context.Context, *In) (*Out, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error,
		intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(In)
		if err := decode(in); err != nil {
			return nil, err
		}
		handler := func(ctx context.Context, in any) (any, error) { return call(srv.(server), ctx, in.(*In)) }
		if intercept == nil {
			return handler(ctx, in)
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/example.Notes/" + name}, handler)
	}}
}
