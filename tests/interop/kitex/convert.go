package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// fillArguments puts a JSON object into a generated argument struct: one key per IDL parameter.
//
// encoding/json knows nothing of IDL defaults, so an argument that is a struct starts as the generated NewX makes it.
// A parameter that is left out, or null, stays as the zero value: for a struct, Go's nil pointer.
func fillArguments(arguments any, text json.RawMessage) error {
	if len(text) == 0 {
		return nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("args: %w", err)
	}
	structure := reflect.ValueOf(arguments).Elem()
	for index := range structure.NumField() {
		applyDefaults(structure.Field(index), given[jsonName(structure.Type().Field(index))])
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(arguments); err != nil {
		return fmt.Errorf("args: %w", err)
	}
	return nil
}

// applyDefaults makes a struct argument with its IDL defaults, less those that the JSON is about to replace:
// encoding/json would add to a default map instead of replacing it.
func applyDefaults(field reflect.Value, text json.RawMessage) {
	if field.Kind() != reflect.Pointer || field.Type().Elem().Kind() != reflect.Struct {
		return
	}
	var given map[string]json.RawMessage
	if json.Unmarshal(text, &given) != nil || given == nil {
		return
	}
	created := reflect.New(field.Type().Elem())
	if defaulted, ok := created.Interface().(interface{ InitDefault() }); ok {
		defaulted.InitDefault()
	}
	for index := range created.Elem().NumField() {
		if _, replaced := given[jsonName(created.Elem().Type().Field(index))]; replaced {
			created.Elem().Field(index).SetZero()
		}
	}
	field.Set(created)
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// outcomeOf reads a generated result struct: field 0 is the return value, any other that is set a declared exception.
func outcomeOf(response any) (result any, declared *failure) {
	if response == nil {
		return nil, nil
	}
	structure := reflect.ValueOf(response).Elem()
	for index := range structure.NumField() {
		field := structure.Type().Field(index)
		value := structure.Field(index)
		switch value.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice:
			if value.IsNil() {
				continue
			}
		}
		if field.Name == "Success" {
			result = value.Interface()
			continue
		}
		declared = &failure{
			Kind:  kindDeclared,
			Text:  fmt.Sprint(value.Interface()),
			Type:  value.Type().Elem().Name(),
			Field: jsonName(field),
			Value: value.Interface(),
		}
	}
	return result, declared
}
